"""Noise estimates without their tangential part."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser, column, epsilon
from degradations.draws import Draws
from degradations.projection import along


@dataclass(frozen=True)
class Radial(Kind):
    """`radial(s)`: of ε = (x − D)/σ the part across x is reduced by the fraction s.

    As the guide radial(1) of an undamaged main, weight w multiplies the part across x by w and
    leaves that along x: tangential amplifying guidance with η = w, at every evaluation, without
    another network. In a step of Euler's method it is the same whether x is scaled or not. (Cho et
    al. 2025, TAG, eq. 6)
    """

    kind: ClassVar[str] = "radial"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return _Radial(base, self.strength)


class _Radial(Denoiser):
    def __init__(self, base: Denoiser, s: float) -> None:
        super().__init__()
        self.base, self.s = base, s

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        noise = epsilon(self.base(x, sigma, condition, draws), x, sigma)
        kept = noise - self.s * (noise - along(noise, x))
        return x - column(sigma, x) * kept
