"""From samples to scores, streamed: what a score needs is folded in chunk by chunk, and merges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import Refused
from study.files.atomic import replacing
from study.files.images import open_npz
from study.metrics.extractors import Extractor
from study.metrics.frechet import FrechetReference
from study.metrics.kernel import across, within
from study.metrics.moments import Moments

KEPT = 5000  # features kept for the kernel distance, whatever the number of samples


@dataclass
class Tally:
    """What was seen of a stream of samples by some extractors: moments, and the features of the first KEPT samples.

    Two tallies of one stream's parts merge by `+`. Memory does not grow with the number of samples.
    """

    extractors: Sequence[Extractor]
    moments: dict[str, Moments] = field(default_factory=dict)
    kept: dict[str, dict[int, npt.NDArray[np.float32]]] = field(default_factory=dict)

    @torch.inference_mode()
    def fold(self, samples: Tensor, first: int) -> None:
        """Take in samples, [B, …], of which the first has the index `first` in the stream."""
        for extractor in self.extractors:
            features = extractor.to(samples.device)(samples)
            if extractor.name not in self.moments:
                self.moments[extractor.name] = Moments.zeros(features.shape[1])
            self.moments[extractor.name].fold(features)
            if first < KEPT:
                part = features[: KEPT - first].float().cpu().numpy()
                self.kept.setdefault(extractor.name, {})[first] = part

    def __add__(self, other: "Tally") -> "Tally":
        names = [e.name for e in self.extractors if e.name in self.moments or e.name in other.moments]
        moments = {n: _sum(self.moments.get(n), other.moments.get(n)) for n in names}
        kept = {n: {**self.kept.get(n, {}), **other.kept.get(n, {})} for n in names}
        return Tally(self.extractors, moments, kept)

    def features(self, name: str) -> npt.NDArray[np.float32]:
        """The kept features of an extractor, in the stream's order."""
        kept = self.kept[name]
        return np.concatenate([kept[first] for first in sorted(kept)])


def _sum(a: Moments | None, b: Moments | None) -> Moments:
    if a is not None and b is not None:
        return a + b
    only = a or b
    assert only is not None
    return only


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


def scores(tally: Tally, references: Mapping[str, Reference]) -> dict[str, float]:
    """`fd_<extractor>` and, where the reference kept features, `kd_<extractor>`, for each extractor."""
    found = {}
    for name, reference in references.items():
        moments = tally.moments[name]
        found[f"fd_{name}"] = reference.frechet.distance(moments.mean, moments.covariance)
        if reference.features is not None:
            x, y = tally.features(name), reference.features
            found[f"kd_{name}"] = within(x) + reference.kernel_within - 2 * across(x, y)
    return found
