"""The stochastic differential equation of the EDM paper."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import Draws, InputError
from study.sampling.solver import Denoise, Solver, required


@dataclass(frozen=True)
class EDMSDE(Solver):
    """`edm-sde(beta=1)`: the flow and a Langevin diffusion of the relative rate β, Euler–Maruyama.

    dx = (x − D)/σ dσ + β·(x − D)/σ dσ + √(2βσ) dω, σ falling: with β(t) = β·σ̇/σ in their equation;
    β = 1 is the reversed variance-exploding SDE, β = 0 Euler's method. No noise in the last step.
    Raises InputError unless 0 ≤ β ≤ 100. (Karras et al. 2022, eq. 6)
    """

    beta: float = 1.0

    kind: ClassVar[str] = "edm-sde"
    order: ClassVar[int] = 1
    needs_draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 100:
            raise InputError(f"{self}: found beta {self.beta:g}; accepted: 0 to 100.")
        super().__post_init__()

    def step(
        self,
        denoise: Denoise,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        draws: Draws | None = None,
    ) -> Tensor:
        d = denoise(x, sigma)
        if sigma_next == 0:
            return d
        h = sigma - sigma_next
        x_next = d + (sigma_next - self.beta * h) / sigma * (x - d)
        if not self.beta:
            return x_next
        noise = required(draws, self).normal("solver", x)
        return x_next + math.sqrt(2 * self.beta * sigma * h) * noise
