"""An input rounded to a few bits."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser, column
from degradations.draws import Draws
from degradations.rounding import rounded


@dataclass(frozen=True)
class InputQuantize(Kind):
    """`input-quantize(k)`: D(Q x; σ), where Q rounds each sample to k bits.

    Q rounds to multiples of Δ = 2·max|x|/(2^k − 1); k is any real number. See
    `degradations.rounding`; k = inf is the identity.
    """

    kind: ClassVar[str] = "input-quantize"
    identity: ClassVar[float] = inf
    least: ClassVar[float] = 1.0
    most: ClassVar[float] = 32.0
    rises: ClassVar[bool] = False

    def degrade(self, base: Denoiser) -> Denoiser:
        return _Rounded(base, self.strength)


class _Rounded(Denoiser):
    def __init__(self, base: Denoiser, bits: float) -> None:
        super().__init__()
        self.base, self.bits = base, bits

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        largest = column(x.abs().flatten(1).amax(dim=1), x)
        return self.base(rounded(x, largest, self.bits), sigma, condition, draws)
