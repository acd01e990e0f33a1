"""A denoiser whose score is too large or too small."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class ScoreError(Kind):
    """`score(a)`: x + (1 + a)·(D(x; σ) − x), a score too large by the fraction a, or too small.

    A score s = (D − x)/σ² that is scaled by 1 + a at every σ samples at a temperature of about
    1/(1 + a): a > 0 narrows the samples, −1 < a < 0 widens them. As the guide score(-1), D = x, of
    an undamaged main, weight w scales the score by w: naive truncation.
    """

    kind: ClassVar[str] = "score"
    least: ClassVar[float] = -1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return _WrongScore(base, self.strength)


class _WrongScore(Denoiser):
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
        return x + (1 + self.a) * (self.base(x, sigma, condition, draws) - x)
