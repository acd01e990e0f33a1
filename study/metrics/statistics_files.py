"""Mean and covariance of features in files: NPZ of ours, clean-fid and EDM, and EDM2's pickles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from degradations import InputError
from study.checkpoints.network_files import PICKLES
from study.files.npz import open_npz
from study.metrics.extractor import Extractor
from study.metrics.extractor_names import extractors
from study.metrics.inception import Inception, InceptionTF

SUFFIXES = (".npz", *PICKLES)
# The names of the extractors in EDM2's files of statistics.
EDM2_KEYS = {"inception_tf": "fid", "dinov2": "fd_dinov2"}
MOST_FEATURES = 2**14  # their covariance takes 2 GiB


def read_npz(path: Path, extractor: Extractor) -> dict[str, Any]:
    """The entries mu, sigma, n, size, extractor and sha256 of an NPZ of statistics.

    n and size are None if not known. Raises InputError if the file has no such statistics.
    """
    with open_npz(path) as file:
        ours = {"n", "extractor", "sha256"} & file.entries.keys()
        missing = {
            "mu",
            "sigma",
            *(("n", "extractor", "sha256") if ours else ()),
        } - file.entries.keys()
        if missing:
            raise InputError(
                f"{path}: not a file of statistics; missing: {', '.join(sorted(missing))}."
            )
        mu = file.numbers("mu", (None,))
        d = len(mu)
        is_inception = extractor.name in (Inception.name, InceptionTF.name)
        if not ours and not (is_inception and d == _dimensions(extractor)):
            raise InputError(
                f"{path}: found statistics of {d} features without the name of an extractor; "
                f"accepted: those of '{extractor.name}', which `study reference` writes with its "
                "name (without it, only Inception's of 2048 features)."
            )
        if not 0 < d <= MOST_FEATURES:
            raise InputError(
                f"{path}: found statistics of {d} features; accepted: 1 to {MOST_FEATURES}."
            )
        found: dict[str, Any] = {"mu": mu, "sigma": file.numbers("sigma", (d, d))}
        if not ours:
            return found | {
                "extractor": extractor.name,
                "sha256": extractor.sha256,
                "n": None,
                "size": None,
            }
        n = _whole(path, "n", float(file.numbers("n", ())))
        sides = file.numbers("size", (2,)) if "size" in file.entries else np.zeros(2)
        height, width = (_whole(path, "size", float(side)) for side in sides)
        return found | {
            "extractor": file.text("extractor"),
            "sha256": file.text("sha256"),
            "n": n or None,
            "size": (height, width) if height else None,
        }


def read_pickle(path: Path, extractor: Extractor) -> dict[str, Any]:
    """The same entries of a pickle of EDM2 for an extractor. Raises InputError if it has none."""
    from study.files import pickles

    found = pickles.load(path)
    entries: Mapping[Any, Any] = found if isinstance(found, dict) else {}
    names = [name for name, key in EDM2_KEYS.items() if isinstance(entries.get(key), dict)]
    if extractor.name not in names:
        has = f"statistics of {' and '.join(names)}" if names else "no statistics"
        raise InputError(f"{path}: found {has}; accepted: statistics of '{extractor.name}'.")
    statistics, n = entries[EDM2_KEYS[extractor.name]], entries.get("num_images")
    mu, sigma = (statistics.get(key) for key in ("mu", "sigma"))
    for array in (mu, sigma):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise InputError(
                f"{path}: found a {type(array).__name__} for 'mu' or 'sigma'; accepted: arrays of "
                "numbers, a mean and a covariance."
            )
    if n is not None and type(n) not in (int, float):
        raise InputError(f"{path}: 'num_images' is a {type(n).__name__}; accepted: a whole number.")
    return {
        "mu": mu.astype(np.float64, copy=False),
        "sigma": sigma.astype(np.float64, copy=False),
        "size": None,
        "n": None if n is None else _whole(path, "num_images", n),
        "extractor": extractor.name,
        "sha256": extractor.sha256,
    }


def _whole(path: Path, name: str, value: float) -> int:
    if not (0 <= value < 2**53 and value == int(value)):
        raise InputError(f"{path}: '{name}' is {value:g}; accepted: a whole number.")
    return int(value)


def check_moments(
    path: Path,
    extractor: Extractor,
    mu: npt.NDArray[np.float64],
    sigma: npt.NDArray[np.float64],
    n: int | None,
) -> None:
    """Raises InputError if mu and sigma are not a mean [d] and a covariance [d, d] of n samples.

    d must be the extractor's, if that is known.
    """
    if (
        mu.ndim != 1
        or len(mu) == 0
        or sigma.shape != (len(mu), len(mu))
        or not np.isfinite(mu).all()
        or not _symmetric(sigma)
        or (n is not None and n < 2)
    ):
        of = "an unknown number of" if n is None else n
        raise InputError(
            f"{path}: mu {mu.shape} and sigma {sigma.shape} of {of} samples are not a mean [d] and "
            "a covariance [d, d]."
        )
    # Rounding makes zero eigenvalues slightly negative; if Σ + 1e-5·Tr(Σ)·I has a Cholesky root,
    # none is more negative than that.
    shifted = sigma.copy()
    shifted[np.diag_indices(len(mu))] += max(1e-5 * np.trace(sigma), np.finfo(np.float64).tiny)
    # in place: it may be large
    _, failed = scipy.linalg.lapack.dpotrf(shifted.T, clean=0, overwrite_a=1)
    if failed:
        raise InputError(f"{path}: sigma has negative eigenvalues; accepted: a covariance.")
    if len(mu) != (_dimensions(extractor) or len(mu)):
        raise InputError(
            f"{path}: found statistics of {len(mu)} features; accepted: those of the extractor "
            f"'{extractor.name}', {_dimensions(extractor)}."
        )


def _dimensions(extractor: Extractor) -> int | None:
    """The number of features of an extractor of this name, if that is known."""
    known = extractors().get(extractor.name)
    return None if known is None else known.dimensions


def _symmetric(sigma: npt.NDArray[np.float64], rows: int = 256) -> bool:
    """Whether a square matrix is finite and symmetric to rounding, checked in blocks of rows."""
    blocks = (slice(start, start + rows) for start in range(0, len(sigma), rows))
    return all(
        np.isfinite(sigma[at]).all() and np.allclose(sigma[at], sigma[:, at].T) for at in blocks
    )
