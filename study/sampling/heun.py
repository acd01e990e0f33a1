"""Heun's method."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import Draws
from study.sampling.solver import Denoise, Solver


@dataclass(frozen=True)
class Heun(Solver):
    """`heun`: second order, two evaluations a step and one in the last.

    The Euler step, then the trapezoid with the slope at its end. (Karras et al. 2022, algorithm 1)
    """

    kind: ClassVar[str] = "heun"
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
        x_next = x + (sigma_next - sigma) * d
        if sigma_next == 0:
            return x_next
        d_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
        return x + (sigma_next - sigma) * (d + d_next) / 2

    def levels(self, sigma: float, sigma_next: float) -> list[float]:
        return [sigma, sigma_next] if sigma_next else [sigma]
