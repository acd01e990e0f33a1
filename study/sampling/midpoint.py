"""The midpoint method."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import Draws
from study.sampling.solver import Denoise, Solver


@dataclass(frozen=True)
class Midpoint(Solver):
    """`midpoint`: second order, the slope at the geometric mean of σ and σ', one in the last step.

    (DPM-Solver-2 in the variables x/α and σ: Lu et al. 2022, algorithm 1)
    """

    kind: ClassVar[str] = "midpoint"
    order: ClassVar[int] = 2

    def step(
        self,
        denoise: Denoise,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        draws: Draws | None = None,
    ) -> Tensor:
        d = (x - denoise(x, sigma)) / sigma
        if sigma_next == 0:
            return x - sigma * d
        middle = math.sqrt(sigma * sigma_next)
        halfway = x + (middle - sigma) * d
        return x + (sigma_next - sigma) * (halfway - denoise(halfway, middle)) / middle

    def levels(self, sigma: float, sigma_next: float) -> list[float]:
        return [sigma, math.sqrt(sigma * sigma_next)] if sigma_next else [sigma]
