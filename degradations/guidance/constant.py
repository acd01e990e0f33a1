"""Guidance with the same weight at every noise level."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.guidance.rule import Combination, Point


@dataclass(frozen=True)
class Constant(Combination):
    """`constant`: D_w = w·D1 + (1 − w)·D0.

    At w = 0 the result is the guide alone, bit for bit, and the main is not evaluated. (Karras et
    al. 2024, eq. 3)
    """

    kind: ClassVar[str] = "constant"

    def uses_main(self, weight: float) -> bool:
        return weight != 0

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        return weight * d1 + (1 - weight) * d0
