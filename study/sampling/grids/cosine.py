"""Noise levels at even times of the cosine schedule."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from study.sampling.grids.grid import Grid


@dataclass(frozen=True)
class CosineGrid(Grid):
    """`cosine`: σ = tan(πt/2), t even between the times of σmax and σmin.

    ᾱ = cos²(πt/2), without the offset that keeps the first level off 0. (Nichol & Dhariwal 2021,
    eq. 17)
    """

    kind: ClassVar[str] = "cosine"

    def between(self, high: float, low: float, u: Tensor) -> Tensor:
        first, last = math.atan(high), math.atan(low)
        return (first + u * (last - first)).tan()
