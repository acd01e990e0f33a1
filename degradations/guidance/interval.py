"""Guidance within an interval of noise levels."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.constant import Constant
from degradations.guidance.rule import Point, Rule


@dataclass(frozen=True)
class Interval(Rule):
    """`interval(low, high)`: D_w = w·D1 + (1 − w)·D0 if low ≤ σ ≤ high, D1 elsewhere.

    At w = 0 the main is still evaluated, so that its draws advance as at other weights. Raises
    InputError unless 0 ≤ low ≤ high. (Kynkäänniemi et al. 2024, eq. 5)
    """

    low: float
    high: float

    kind: ClassVar[str] = "interval"

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high < math.inf:
            raise InputError(
                f"{self}: found {self.low:g}, {self.high:g}; accepted: 0 ≤ low ≤ high, finite."
            )
        super().__post_init__()

    def uses_guide(self, weight: float, sigma: Tensor) -> Tensor:
        inside = (self.low <= sigma) & (sigma <= self.high)
        return inside & super().uses_guide(weight, sigma)

    def combine(self, d1: Tensor, d0: Tensor, weight: float, at: Point) -> Tensor:
        return Constant().combine(d1, d0, weight, at)
