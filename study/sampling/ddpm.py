"""Ancestral sampling of the denoising diffusion model."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import Draws
from study.sampling.ddim import implicit
from study.sampling.solver import Denoise, Solver


@dataclass(frozen=True)
class DDPM(Solver):
    """`ddpm`: x' ~ N((σ'²/σ²)·x + (1 − σ'²/σ²)·D, σ'²·(1 − σ'²/σ²)·I), the posterior at y = D.

    In the variables x/√ᾱ and σ = √((1 − ᾱ)/ᾱ), with the smaller of the two variances. (Ho et al.
    2020, eqs. 6, 7)
    """

    kind: ClassVar[str] = "ddpm"
    order: ClassVar[int] = 1
    needs_draws: ClassVar[bool] = True

    def step(
        self,
        denoise: Denoise,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        draws: Draws | None = None,
    ) -> Tensor:
        return implicit(self, 1.0, denoise(x, sigma), x, sigma, sigma_next, draws)
