"""What samples are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from degradations import Refused
from study.files.atomic import replacing
from study.files.images import open_npz
from study.metrics.extractors import Extractor
from study.metrics.frechet import FrechetReference
from study.metrics.kernel import within
from study.metrics.neighbours import radii
from study.metrics.tally import Tally


@dataclass(frozen=True)
class Reference:
    """What samples are compared with, as one extractor sees it; it knows its extractor and its number of samples."""

    extractor: str
    sha256: str
    n: int
    frechet: FrechetReference
    features: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, tally: Tally, extractor: Extractor) -> "Reference":
        moments = tally.moments[extractor.name]
        frechet = FrechetReference(moments.mean, moments.covariance)
        return cls(extractor.name, extractor.sha256, moments.n, frechet, tally.features(extractor.name))

    @cached_property
    def kernel_within(self) -> float:
        """The reference's part of the kernel distance, computed once."""
        assert self.features is not None
        return within(self.features)

    @cached_property
    def radii(self) -> Tensor:
        """The reference's part of precision, recall, density and coverage, computed once."""
        assert self.features is not None
        return radii(self.features)

    def save(self, path: Path) -> None:
        """Write the statistics as NPZ: mu, sigma, n, extractor and its hash."""
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, mu=self.frechet.mean, sigma=self.frechet.covariance, n=self.n,
                     extractor=self.extractor, sha256=self.sha256)  # fmt: skip

    @classmethod
    def is_one(cls, path: Path) -> bool:
        """Whether an NPZ file holds statistics rather than samples, as its entries' names say."""
        try:
            with open_npz(path) as file:
                return "sigma" in file.files
        except Refused:
            return False

    @classmethod
    def load(cls, path: Path, extractor: Extractor) -> "Reference":
        """Read statistics. Raises Refused for a damaged file or the statistics of another extractor."""
        try:
            with open_npz(path) as file:
                missing = {"mu", "sigma", "n", "extractor", "sha256"} - set(file.files)
                if missing:
                    raise Refused(f"{path}: no statistics of ours, {', '.join(sorted(missing))} missing.")
                mu, sigma, n = file["mu"].astype(np.float64), file["sigma"].astype(np.float64), int(file["n"])
                made_by = str(file["extractor"]), str(file["sha256"])
        except Refused:
            raise
        except Exception as error:
            raise Refused(f"{path}: not a whole NPZ file of statistics ({error}).") from None
        name, digest = made_by
        if (name, digest) != (extractor.name, extractor.sha256):
            same = name == extractor.name
            raise Refused(
                f"{path}: statistics of the extractor '{name}'{' with other weights' if same else ''}, "
                f"'{extractor.name}' is wanted."
            )
        if (
            mu.ndim != 1
            or sigma.shape != (len(mu), len(mu))
            or not np.isfinite(mu).all()
            or not np.isfinite(sigma).all()
            or not np.allclose(sigma, sigma.T)
            or n < 2
        ):
            raise Refused(
                f"{path}: mu {mu.shape} and sigma {sigma.shape} of {n} samples are no mean [d] and covariance [d, d]."
            )
        return cls(name, digest, n, FrechetReference(mu, sigma), None)


def references(samples: Tensor, extractors: Sequence[Extractor], block: int = 1024) -> dict[str, Reference]:
    """The reference of a data set for each extractor, by the extractor's name."""
    tally = Tally(extractors)
    for first in range(0, len(samples), block):
        tally.fold(samples[first : first + block], first)
    return {extractor.name: Reference.of(tally, extractor) for extractor in extractors}
