"""The contract of a data set."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from degradations import InputError
from study.models import ExactMixture


@dataclass(frozen=True)
class Data:
    """A data set: samples [N, …] float32, labels [N] or None, the number of classes.

    exact: the exact denoiser, if the density is known.
    """

    name: str
    samples: Tensor
    labels: Tensor | None = None
    classes: int = 0
    exact: ExactMixture | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.samples.shape[1:])

    @property
    def counts(self) -> Tensor | None:
        """Samples of each class, [classes], or None without labels."""
        return None if self.labels is None else torch.bincount(self.labels, minlength=self.classes)

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
        return replace(
            self,
            samples=self.samples[rows],
            labels=None if self.labels is None else self.labels[rows],
        )
