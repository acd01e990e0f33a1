"""References that samples are compared with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import InputError
from study.checkpoints.network_files import PICKLES
from study.files.atomic import replacing
from study.files.npz import open_npz
from study.metrics.extractor import Extractor
from study.metrics.frechet import FrechetReference
from study.metrics.kernel import within
from study.metrics.moments import Moments
from study.metrics.neighbours import radii
from study.metrics.statistics_files import SUFFIXES, check_moments, read_npz, read_pickle
from study.metrics.tally import Tally


@dataclass(frozen=True)
class Reference:
    """A reference that samples are compared with, for one extractor.

    Args:
        extractor, sha256: the extractor's name and identity
        n: its number of samples; None: not known
        frechet: their mean and covariance
        features: those of the first samples; None: not kept
        size: [height, width] of its images; None: not known, or no images
        parts: the moments of groups of its samples; empty if they were not asked for
    """

    extractor: str
    sha256: str
    n: int | None
    frechet: FrechetReference
    features: npt.NDArray[np.float32] | None
    size: tuple[int, int] | None = None
    parts: Sequence[Moments] = ()

    @classmethod
    def of(
        cls, tally: Tally, extractor: Extractor, size: tuple[int, int] | None = None
    ) -> "Reference":
        moments = tally.moments[extractor.name]
        frechet = FrechetReference(moments.mean, moments.covariance)
        name, grouped = extractor.name, tally.groups is not None
        parts = tally.parts[name] if grouped else ()
        return cls(name, extractor.sha256, moments.n, frechet, tally.features(name), size, parts)

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

    @cached_property
    def without_each(self) -> list[FrechetReference]:
        """The reference without each of its groups, computed once."""
        found = []
        for out in range(len(self.parts)):
            rest = reduce(add, [*self.parts[:out], *self.parts[out + 1 :]])
            found.append(FrechetReference(rest.mean, rest.covariance))
        return found

    def require_size(self, samples: Tensor) -> None:
        """Raises InputError if images have another resolution than the reference's.

        Only if both are known.
        """
        found = _size(samples)
        if None not in (self.size, found) and found != self.size:
            raise InputError(
                f"found samples of {_size_in_words(found)} pixels; accepted: "
                f"{_size_in_words(self.size)}, as in the reference."
            )

    def save(self, path: Path) -> None:
        """Write the statistics as NPZ.

        Entries: mu, sigma, n (0: not known), extractor and its hash, and size if known.
        """
        size: dict[str, Any] = {} if self.size is None else {"size": self.size}
        with replacing(path) as part, part.open("wb") as file:
            np.savez(
                file,
                mu=self.frechet.mean,
                sigma=self.frechet.covariance,
                n=self.n or 0,
                extractor=self.extractor,
                sha256=self.sha256,
                **size,
            )

    @classmethod
    def is_one(cls, path: Path) -> bool:
        """Whether a file contains statistics rather than samples.

        That is a pickle, or an NPZ with the names of statistics.
        """
        if path.suffix not in SUFFIXES or not path.is_file():
            return False
        if path.suffix in PICKLES:
            return True
        try:
            with open_npz(path) as file:
                return "sigma" in file.entries
        except InputError:
            return False

    @classmethod
    def load(
        cls, path: Path, extractor: Extractor, size: tuple[int, int] | None = None
    ) -> "Reference":
        """Read statistics: ours, clean-fid's or EDM's (NPZ), or EDM2's (a pickle).

        Those of clean-fid and EDM, mu and sigma, do not name their extractor; the caller declares
        them to be Inception's. size: their known resolution, if the file does not contain it.
        Raises InputError if the file is damaged, is not a mean and covariance, or has another
        extractor or resolution.
        """
        read = read_pickle if path.suffix in PICKLES else read_npz
        found = read(path, extractor)
        own = found["size"]
        if None not in (own, size) and own != size:
            raise InputError(
                f"{path}: found statistics of images of {_size_in_words(own)} pixels; accepted: "
                f"{_size_in_words(size)}."
            )
        name, digest, n, mu, sigma = (
            found[key] for key in ("extractor", "sha256", "n", "mu", "sigma")
        )
        if (name, digest) != (extractor.name, extractor.sha256):
            same = name == extractor.name
            raise InputError(
                f"{path}: found statistics of the extractor "
                f"'{name}'{' with other weights' if same else ''}; accepted: '{extractor.name}'."
            )
        check_moments(path, extractor, mu, sigma, n)
        return cls(name, digest, n, FrechetReference(mu, sigma), None, own or size)


def references(
    samples: Tensor,
    extractors: Sequence[Extractor],
    groups: Tensor | None = None,
    block: int = 1024,
) -> dict[str, Reference]:
    """The references of a data set by the extractor's name; groups: of its samples, [N], if any."""
    return stream_references(torch.split(samples, block), extractors, groups)


def stream_references(
    stream: Iterable[Tensor], extractors: Sequence[Extractor], groups: Tensor | None = None
) -> dict[str, Reference]:
    """The references of samples that come in batches, by the extractor's name.

    Memory does not depend on the number of batches. Raises InputError if there are fewer than two
    samples.
    """
    tally, first, size = Tally(extractors, groups), 0, None
    for batch in stream:
        tally.fold(batch, first)
        first, size = first + len(batch), _size(batch)
    if first < 2:
        raise InputError(
            f"reference: found {first} sample{'' if first == 1 else 's'}; accepted: at least 2."
        )
    return {extractor.name: Reference.of(tally, extractor, size) for extractor in extractors}


def _size(samples: Tensor) -> tuple[int, int] | None:
    return (samples.shape[2], samples.shape[3]) if samples.ndim == 4 else None


def _size_in_words(size: tuple[int, int] | None) -> str:
    return "?" if size is None else f"{size[1]}×{size[0]}"
