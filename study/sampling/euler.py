"""Euler's method."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from study.sampling.solver import Denoise, Solver, Visit


class Euler(Solver):
    """`euler`: first order, one evaluation a step. x' = x + (σ' − σ)·(x − D(x; σ))/σ."""

    name: ClassVar[str] = "euler"
    order: ClassVar[int] = 1

    def step(self, denoise: Denoise, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        d = denoise(x, sigma)
        # Added to D rather than to x, it loses no digits where σ is large.
        return d + sigma_next / sigma * (x - d)

    def visits(self, sigmas: Sequence[float]) -> list[Visit]:
        return [Visit(number, sigma) for number, sigma in enumerate(sigmas[:-1])]
