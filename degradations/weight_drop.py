"""Weights set to zero at random."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class WeightDrop(Kind):
    """`weight-drop(f, seed=0)`: in every weight matrix a fraction f of the weights is set to 0.

    They are chosen at random once, by the seed and the matrix's name. With one seed those of a
    smaller f are among those of a larger one; with another seed they are chosen anew.
    """

    seed: int = 0

    kind: ClassVar[str] = "weight-drop"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_weights(self._drop, wanted_by=str(self))

    def _drop(self, name: str, weight: Tensor) -> Tensor:
        uniform = Draws(self.seed, role=self.kind).uniform(name, torch.empty(weight.shape))
        return weight.masked_fill((uniform < self.strength).to(weight.device), 0)
