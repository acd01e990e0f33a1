"""Weights shifted in a fixed random direction."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class WeightNoise(Kind):
    """`weight-noise(a, seed=0)`: W ↦ W + a·std(W)·n, n ~ N(0, I), for every weight matrix.

    n is determined by the seed and the matrix's name. It is the same on every device and for every
    a, so a larger a moves further in the same direction.
    """

    seed: int = 0

    kind: ClassVar[str] = "weight-noise"

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_weights(self._move, wanted_by=str(self))

    def _move(self, name: str, weight: Tensor) -> Tensor:
        n = Draws(self.seed, role=self.kind).normal(name, torch.empty(weight.shape)).to(weight)
        return weight + self.strength * weight.std(correction=0) * n
