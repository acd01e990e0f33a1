"""Denoising diffusion implicit models."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import Draws, InputError
from study.sampling.solver import Denoise, Solver, required


@dataclass(frozen=True)
class DDIM(Solver):
    """`ddim(eta=0)`: x' = D + √(σ'² − s²)·(x − D)/σ + s·n, s = η·σ'·√(1 − σ'²/σ²), n ~ N(0, I).

    In the variables x/√ᾱ and σ = √((1 − ᾱ)/ᾱ). η = 0 is Euler's method, η = 1 ancestral sampling
    (`ddpm`). Raises InputError unless 0 ≤ η ≤ 1. (Song et al. 2021, eqs. 12 and 16)
    """

    eta: float = 0.0

    kind: ClassVar[str] = "ddim"
    order: ClassVar[int] = 1
    needs_draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"{self}: found eta {self.eta:g}; accepted: 0 to 1.")
        super().__post_init__()

    def step(
        self,
        denoise: Denoise,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        draws: Draws | None = None,
    ) -> Tensor:
        return implicit(self, self.eta, denoise(x, sigma), x, sigma, sigma_next, draws)


def implicit(
    by: Solver,
    eta: float,
    d: Tensor,
    x: Tensor,
    sigma: float,
    sigma_next: float,
    draws: Draws | None,
) -> Tensor:
    """A step of `DDIM` from an estimate d."""
    s = eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)
    kept = d + math.sqrt(sigma_next**2 - s**2) / sigma * (x - d)
    return kept + s * required(draws, by).normal("solver", x) if s else kept
