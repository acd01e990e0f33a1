"""A denoiser that receives a wrong noise level."""

from dataclasses import dataclass
from typing import ClassVar

from degradations.around import Around, Question
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class SigmaError(Around):
    """`sigma(a)`: D(x; (1 + a)·σ), a noise level too high by the fraction a, or too low (a < 0)."""

    kind: ClassVar[str] = "sigma"
    least: ClassVar[float] = -0.99

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        return question._replace(sigma=(1 + self.strength) * question.sigma)
