"""Guidance within an interval of noise levels."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Schedule


@dataclass(frozen=True)
class Interval(Schedule):
    """`interval(low, high)`: the weight where low ≤ σ ≤ high, the main alone elsewhere.

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

    def share(self, sigma: Tensor) -> Tensor:
        return ((self.low <= sigma) & (sigma <= self.high)).to(torch.float64)
