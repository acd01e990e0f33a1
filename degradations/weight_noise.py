"""Weights shifted in a fixed random direction."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class WeightNoise(Kind):
    """`weight-noise(a, seed=0, angle=0)`: W ↦ W + a·std(W)·n, n ~ N(0, I), for every weight matrix.

    n = cos θ·n₀ + sin θ·n₁ with the angle θ in degrees; n₀ and n₁ are determined by the seed and
    the matrix's name. They are the same on every device and for every a, so a larger a moves
    further in the same direction, and the directions of two angles have the cosine of their
    difference.
    """

    seed: int = 0
    angle: float = 0.0

    kind: ClassVar[str] = "weight-noise"

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_weights(self._move, wanted_by=str(self))

    def _move(self, name: str, weight: Tensor) -> Tensor:
        draws, like = Draws(self.seed, role=self.kind), torch.empty(weight.shape)
        n = draws.normal(name, like).to(weight)
        if self.angle:
            theta = math.radians(self.angle)
            other = draws.child("other").normal(name, like).to(weight)
            n = math.cos(theta) * n + math.sin(theta) * other
        return weight + self.strength * weight.std(correction=0) * n
