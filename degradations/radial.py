"""Noise estimates without their tangential part."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.around import Around, Question
from degradations.denoiser import Denoiser, column, epsilon
from degradations.projection import along


@dataclass(frozen=True)
class Radial(Around):
    """`radial(s)`: of ε = (x − D)/σ the part across x is reduced by the fraction s.

    As the guide radial(1) of an undamaged main, weight w multiplies the part across x by w and
    leaves that along x: tangential amplifying guidance with η = w, at every evaluation, without
    another network. In a step of Euler's method it is the same whether x is scaled or not. (Cho et
    al. 2025, TAG, eq. 6)
    """

    kind: ClassVar[str] = "radial"
    most: ClassVar[float] = 1.0
    asks: ClassVar[bool] = False

    def answer(self, d: Tensor, question: Question, base: Denoiser) -> Tensor:
        x, sigma, _ = question
        noise = epsilon(d, x, sigma)
        kept = noise - self.strength * (noise - along(noise, x))
        return x - column(sigma, x) * kept
