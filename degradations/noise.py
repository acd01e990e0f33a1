"""Noise added to the input; the denoiser receives the higher noise level."""

import math
from dataclasses import dataclass
from typing import ClassVar

from degradations.around import Around, Question
from degradations.denoiser import Denoiser, column
from degradations.draws import Draws, required


@dataclass(frozen=True)
class InputNoise(Around):
    """`noise(a)`: noise is added to the input, so that the noise level rises by the fraction a.

    D(x + √((1 + a)² − 1)·σ·n; (1 + a)·σ), n ~ N(0, I); n is drawn anew at every evaluation. (Karras
    et al. 2024, synthetic degradations)
    """

    kind: ClassVar[str] = "noise"
    below: ClassVar[float] = 1000.0

    @property
    def random(self) -> bool:
        return True

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        x, sigma, condition = question
        n = required(draws, self.kind).normal("noise", x)
        added = math.sqrt((1 + self.strength) ** 2 - 1) * column(sigma, x) * n
        return Question(x + added, (1 + self.strength) * sigma, condition)
