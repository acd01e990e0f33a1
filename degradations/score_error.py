"""A denoiser whose score is too large or too small."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.around import Around, Question
from degradations.denoiser import Denoiser


@dataclass(frozen=True)
class ScoreError(Around):
    """`score(a)`: x + (1 + a)·(D(x; σ) − x), a score too large by the fraction a, or too small.

    A score s = (D − x)/σ² that is scaled by 1 + a at every σ samples at a temperature of about
    1/(1 + a): a > 0 narrows the samples, −1 < a < 0 widens them. As the guide score(-1), D = x, of
    an undamaged main, weight w scales the score by w: naive truncation.
    """

    kind: ClassVar[str] = "score"
    least: ClassVar[float] = -1.0
    asks: ClassVar[bool] = False

    def answer(self, d: Tensor, question: Question, base: Denoiser) -> Tensor:
        return question.x + (1 + self.strength) * (d - question.x)
