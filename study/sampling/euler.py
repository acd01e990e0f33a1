"""Euler's method."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import Draws
from study.sampling.solver import Denoise, Solver


@dataclass(frozen=True)
class Euler(Solver):
    """`euler`: first order, one evaluation a step. x' = x + (σ' − σ)·(x − D(x; σ))/σ."""

    kind: ClassVar[str] = "euler"
    order: ClassVar[int] = 1

    def step(
        self,
        denoise: Denoise,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        draws: Draws | None = None,
    ) -> Tensor:
        d = denoise(x, sigma)
        # Added to D rather than to x, it loses no digits where σ is large.
        return d + sigma_next / sigma * (x - d)
