"""Noise added to the input; the denoiser receives the higher noise level."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser, column
from degradations.draws import Draws, required


@dataclass(frozen=True)
class InputNoise(Kind):
    """`noise(a)`: noise is added to the input, so that the noise level rises by the fraction a.

    D(x + √((1 + a)² − 1)·σ·n; (1 + a)·σ), n ~ N(0, I); n is drawn anew at every evaluation. (Karras
    et al. 2024, synthetic degradations)
    """

    kind: ClassVar[str] = "noise"
    below: ClassVar[float] = 1000.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return _Noisy(base, self.strength)


class _Noisy(Denoiser):
    def __init__(self, base: Denoiser, a: float) -> None:
        super().__init__()
        self.base, self.a = base, a

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        added = (
            math.sqrt((1 + self.a) ** 2 - 1)
            * column(sigma, x)
            * required(draws, "noise").normal("noise", x)
        )
        return self.base(x + added, (1 + self.a) * sigma, condition, draws)
