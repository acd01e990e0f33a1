"""What a data set is."""

from dataclasses import dataclass

import torch
from torch import Tensor

from study.models import ExactMixture


@dataclass(frozen=True)
class Data:
    """A data set: samples [N, …] float32, labels [N] or None, and its exact denoiser where the density is known."""

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
