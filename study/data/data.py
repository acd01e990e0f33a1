"""What a data set is."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from degradations import InputError
from study.models import ExactMixture


@dataclass(frozen=True)
class Data:
    """A data set: samples [N, …] float32, labels [N] or None, and its exact denoiser where the
    density is known."""

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

    def split(self, share: float) -> tuple["Data", "Data"]:
        """What is trained on, round(share·N) samples and at least one, and what is held out, each
        in the data's order.

        Always the same split; each class in its share, to one sample; a smaller share's first part
        lies within a larger one's. Raises InputError unless 0 < share ≤ 1.
        """
        if not 0 < share <= 1:
            raise InputError(
                f"data set '{self.name}': a share above 0 and at most 1 can be trained on, found "
                f"{share}."
            )
        order = self._spread()
        n = max(1, round(share * len(order)))
        return self._only(order[:n].sort().values), self._only(order[n:].sort().values)

    def _spread(self) -> Tensor:
        """An order of the samples, [N], of which every beginning has the classes in the data's
        proportions.

        Shuffled, sample k of the n of its class comes at (k + 1/2)/n.
        """
        shuffled = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(0))
        if self.labels is None:
            return shuffled
        place = torch.empty(len(shuffled), dtype=torch.float64)
        for label in range(self.classes):
            rows = shuffled[self.labels[shuffled] == label]
            place[rows] = (torch.arange(len(rows)) + 0.5).double() / len(rows)
        return place.argsort(stable=True)

    def _only(self, rows: Tensor) -> "Data":
        return replace(
            self,
            samples=self.samples[rows],
            labels=None if self.labels is None else self.labels[rows],
        )
