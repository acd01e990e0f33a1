"""An input rounded to a few bits."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from degradations.around import Around, Question
from degradations.denoiser import Denoiser, column
from degradations.draws import Draws
from degradations.rounding import rounded


@dataclass(frozen=True)
class InputQuantize(Around):
    """`input-quantize(k)`: D(Q x; σ), where Q rounds each sample to k bits.

    Q rounds to multiples of Δ = 2·max|x|/(2^k − 1); k is any real number. See
    `degradations.rounding`; k = inf is the identity.
    """

    kind: ClassVar[str] = "input-quantize"
    identity: ClassVar[float] = inf
    least: ClassVar[float] = 1.0
    most: ClassVar[float] = 32.0
    rises: ClassVar[bool] = False

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        x = question.x
        largest = column(x.abs().flatten(1).amax(dim=1), x)
        return question._replace(x=rounded(x, largest, self.strength))
