"""Evenly spaced noise levels."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from study.sampling.grids.grid import Grid


@dataclass(frozen=True)
class LinearGrid(Grid):
    """`linear`: σ = σmax + u·(σmin − σmax). (DDIM's time step: Song et al. 2021; EDM's, table 1)"""

    kind: ClassVar[str] = "linear"

    def between(self, high: float, low: float, u: Tensor) -> Tensor:
        return high + u * (low - high)
