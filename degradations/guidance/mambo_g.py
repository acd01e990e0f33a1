"""Magnitude-aware mitigation of guidance."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Combination, Point
from degradations.guidance.views import FLOW, View
from degradations.projection import norm


@dataclass(frozen=True)
class MamboG(Combination):
    """`mambo-g(alpha)`: the weight 1 + (w − 1)·exp(−α·‖Δ‖/‖u0‖) of each sample, Δ = u1 − u0.

    u is the flow's velocity, which the models of the paper predict; it does not say what holds in
    another view. Raises InputError unless α ≥ 0. (MAMBO-G, 2025, eq. 8)
    """

    alpha: float

    kind: ClassVar[str] = "mambo-g"
    view: ClassVar[View] = FLOW

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise InputError(f"{self}: found alpha {self.alpha:g}; accepted: at least 0, finite.")
        super().__post_init__()

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        delta = d1 - d0
        share = (-self.alpha * norm(delta) / norm(d0)).exp().to(d1.dtype)
        return d0 + (1 + (weight - 1) * share) * delta
