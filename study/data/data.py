"""The contract of a data set."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from degradations import InputError
from study.data.pixels import Pixels
from study.models import ExactMixture

BLOCK = 1024  # samples of a batch that is read at once


@dataclass(frozen=True)
class Data:
    """A data set: samples [N, …] float32, labels [N] or None, the number of classes.

    samples: a tensor, or images that are read as they are asked for. exact: the exact denoiser, if
    the density is known. digest: the SHA-256 of its content, if that is known without reading it.
    """

    name: str
    samples: Tensor | Pixels
    labels: Tensor | None = None
    classes: int = 0
    exact: ExactMixture | None = None
    digest: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.samples.shape[1:])

    @property
    def counts(self) -> Tensor | None:
        """Samples of each class, [classes], or None without labels."""
        return None if self.labels is None else torch.bincount(self.labels, minlength=self.classes)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the samples as float32, or the digest of a file's content."""
        if self.digest:
            return self.digest
        found = hashlib.sha256()
        for batch in self.batches():
            found.update(batch.numpy().tobytes())
        return found.hexdigest()

    def batches(self, size: int = BLOCK) -> Iterator[Tensor]:
        """The samples in their order, [n, …] at a time, n ≤ size."""
        for first in range(0, len(self.samples), size):
            yield self.samples[first : first + size]

    def split(self, share: float, seed: int = 0) -> tuple["Data", "Data"]:
        """The training part, round(share·N) samples and at least one, and the held-out part.

        Both are in the data's order. A seed always gives the same split; each class has its share
        to within one sample; the training part of a smaller share lies within that of a larger one.
        Raises InputError unless 0 < share ≤ 1.
        """
        if not 0 < share <= 1:
            raise InputError(
                f"data set '{self.name}': found share {share}; accepted: above 0 and at most 1."
            )
        order = self._spread(seed)
        n = max(1, round(share * len(order)))
        return self._only(order[:n].sort().values), self._only(order[n:].sort().values)

    def _spread(self, seed: int) -> Tensor:
        """An order of the samples, [N], whose prefixes have the classes in the data's proportions.

        Samples are shuffled; sample k of the n of its class is placed at (k + 1/2)/n.
        """
        shuffled = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(seed))
        if self.labels is None:
            return shuffled
        place = torch.empty(len(shuffled), dtype=torch.float64)
        for label in range(self.classes):
            rows = shuffled[self.labels[shuffled] == label]
            place[rows] = (torch.arange(len(rows)) + 0.5).double() / len(rows)
        return place.argsort(stable=True)

    @property
    def missing(self) -> list[int]:
        """The classes of which there is no sample."""
        return [] if self.counts is None else (self.counts == 0).nonzero()[:, 0].tolist()

    def _only(self, rows: Tensor) -> "Data":
        samples = self.samples
        if len(rows) == len(samples):  # all, in their order
            return self
        digest = hashlib.sha256(self.digest.encode() + rows.numpy().tobytes()).hexdigest()
        return replace(
            self,
            samples=samples.only(rows) if isinstance(samples, Pixels) else samples[rows],
            labels=None if self.labels is None else self.labels[rows],
            digest=digest if self.digest else "",
        )
