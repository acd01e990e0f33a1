"""Weights rounded to a few bits."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.rounding import rounded


@dataclass(frozen=True)
class Quantize(Kind):
    """`quantize(k)`: every weight matrix W is rounded to multiples of Δ = 2·max|W|/(2^k − 1).

    k is the number of bits, any real number. See `degradations.rounding`; k = inf is the identity,
    k = 1 makes every W zero.
    """

    kind: ClassVar[str] = "quantize"
    identity: ClassVar[float] = inf
    least: ClassVar[float] = 1.0
    most: ClassVar[float] = 32.0
    rises: ClassVar[bool] = False

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_weights(self._round, wanted_by=str(self))

    def _round(self, name: str, weight: Tensor) -> Tensor:
        return rounded(weight, weight.abs().amax(), self.strength)
