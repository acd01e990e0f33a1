"""A denoiser that receives a wrong noise level."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class SigmaError(Kind):
    """`sigma(a)`: D(x; (1 + a)·σ), a noise level too high by the fraction a, or too low (a < 0)."""

    kind: ClassVar[str] = "sigma"
    least: ClassVar[float] = -0.99

    def degrade(self, base: Denoiser) -> Denoiser:
        return _WrongSigma(base, self.strength)


class _WrongSigma(Denoiser):
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
        return self.base(x, (1 + self.a) * sigma, condition, draws)
