"""Scores by clean-fid (Parmar et al. 2022); the only file that imports it, when it is called.

Importing it downloads nothing, but takes a second and imports torchvision. Its own storage is
bypassed: it downloads weights unchecked, in place, to a fixed name in the temporary folder, and
statistics into the installed package. It receives files of our cache instead, and statistics as
arrays.
"""

import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import LinAlgWarning
from torch import Tensor

from degradations import InputError, RunError
from study.files.images import write_png
from study.metrics.extractor import Extractor
from study.metrics.images import Images
from study.metrics.inception import INCEPTION, Script, read_script
from study.metrics.moments import Array
from study.metrics.reference import Reference

# Relative error of Inception's features in float32: 1.8e-5 against float64 with random weights,
# 2.6e-5 between ours and clean-fid's (`pytest -m slow tests/test_verify.py`).
FEATURES = 5e-5
UNIT32, UNIT64 = 2.0**-24, 2.0**-53  # unit roundoff


@dataclass(frozen=True)
class Verified:
    """A Fréchet distance, clean-fid's value for the same images, and the tolerance.

    The tolerance is the difference that rounding can cause.
    """

    metric: str
    score: float
    clean_fid: float
    tolerance: float

    @property
    def difference(self) -> float:
        return abs(self.score - self.clean_fid)

    def as_dict(self) -> dict[str, float]:
        """The entries of a JSON object, each with the metric in its name."""
        found = {
            "clean_fid": self.clean_fid,
            "difference": self.difference,
            "tolerance": self.tolerance,
        }
        return {f"{self.metric}_{key}": value for key, value in found.items()}

    def __str__(self) -> str:
        text = (
            f"{self.metric} {self.score:.6g}, clean-fid {self.clean_fid:.6g} (difference "
            f"{self.difference:.1g}"
        )
        if self.difference <= self.tolerance:
            return f"{text}, within the {self.tolerance:.1g} of rounding)"
        return f"{text}) WARNING: rounding explains {self.tolerance:.1g} only; the two do not agree"


def verify(
    images: Iterable[npt.NDArray[np.uint8]],
    extractor: Extractor,
    reference: Reference,
    score: float,
    device: torch.device,
) -> Verified:
    """The Fréchet distance of images to a reference, computed by clean-fid.

    Used are its reading of PNG files, its resizing, its Inception with the extractor's weights, its
    moments and its distance. images: batches [n, H, W, 1 or 3], each written into a temporary
    folder and removed when its features are computed. score: ours, for comparison. Raises
    InputError if clean-fid cannot run the extractor, and RunError if it finds no root of the
    covariances' product.
    """
    script, features = _script(extractor), []
    if script is None:
        raise InputError(_foreign([extractor]))
    with tempfile.TemporaryDirectory(prefix="clean-fid-") as place, warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning, LinAlgWarning):
            # TorchScript and sqrtm's `disp` are deprecated; covariances of fewer images than
            # features are singular.
            warnings.simplefilter("ignore", category)
        from cleanfid import fid

        network = _network(script, len(reference.frechet.mean), Path(place), device)
        for batch in images:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                for index, image in enumerate(batch):
                    write_png(Path(folder) / f"{index:06d}.png", image)
                features.append(
                    fid.get_folder_features(
                        folder, network, num_workers=0, device=device, mode="clean", verbose=False
                    )
                )
        f = np.concatenate(features)
        mean, covariance = (
            np.mean(f, axis=0),
            np.cov(f, rowvar=False),
        )  # as in `cleanfid.fid.fid_folder`
        try:
            with redirect_stdout(sys.stderr):  # keeps its remarks out of a table or JSON
                found = fid.frechet_distance(
                    mean, covariance, reference.frechet.mean, reference.frechet.covariance
                )
        except ValueError as error:
            raise RunError(
                f"clean-fid: found no root of the covariances' product ({error})."
            ) from None
    tolerance = rounding(score, len(f), mean, covariance, reference.frechet.covariance)
    return Verified(f"fd_{extractor.name}", score, float(found), tolerance)


def verifiable(extractors: Sequence[Extractor]) -> list[Extractor]:
    """The extractors that clean-fid can run. Raises InputError if it can run none of them."""
    found = [extractor for extractor in extractors if _script(extractor)]
    if not found:
        raise InputError(_foreign(extractors))
    return found


def rounding(distance: float, n: int, mean: Array, covariance: Array, other: Array) -> float:
    """The difference that rounding can cause in a Fréchet distance of n samples to N(·, other).

    Features that differ by ε of their norm move a Gaussian fit by at most δ = ε·√(|μ|² + Tr Σ) in
    the Wasserstein distance, whose square the Fréchet distance is, hence the distance by 2δ·√FD +
    δ² (Gelbrich 1990). ε: that of the features, and √n·2⁻²⁴ of a mean in float32. The roots of d
    eigenvalues, of which some are zero, each add √(2⁻⁵³·‖Σ‖·‖Σ_r‖), twice.
    """
    size = float((mean.astype(np.float64) ** 2).sum() + np.trace(covariance))
    delta = (FEATURES + math.sqrt(n) * UNIT32) * math.sqrt(size)
    roots = (
        2
        * len(mean)
        * math.sqrt(UNIT64 * float(np.linalg.norm(covariance) * np.linalg.norm(other)))
    )
    return 2 * delta * math.sqrt(distance) + delta**2 + roots


def _foreign(extractors: Sequence[Extractor]) -> str:
    names = ", ".join(extractor.name for extractor in extractors)
    return (
        f"--verify: clean-fid cannot run {names}; accepted: inception, and cards with "
        '"mode": "clean".'
    )


def _script(extractor: Extractor) -> Script | None:
    """The network of an extractor, if it is Inception's by its interface with clean-fid's resizing.

    None for others.
    """
    network = extractor.network if isinstance(extractor, Images) else None
    return network if isinstance(network, Script) and network.mode == "clean" else None


def _network(
    script: Script, d: int, folder: Path, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """clean-fid's Inception with our weights, from a file with the one name that it reads."""
    from cleanfid.inception_torchscript import InceptionV3W

    (folder / INCEPTION.name).write_bytes(read_script(script.path, script.sha256))
    network = InceptionV3W(str(folder), download=False).to(device).eval()
    if d == 2048:
        return network
    return lambda x: network.layers((x - 128) / 128).flatten(
        1
    )  # its own `forward`, which takes 2048 features only
