"""A weight that changes exponentially over the logarithm of the noise level."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.ramp import Ramp


@dataclass(frozen=True)
class Exponential(Ramp):
    """`exponential(zero, full, rate)`: w(σ) = 1 + (w − 1)·(e^{rate·u} − 1)/(e^rate − 1).

    u = ln(σ/zero)/ln(full/zero), limited to [0, 1]. Raises InputError unless the rate is from −50
    to 50 and not 0.
    (Over time: Wang et al. 2024, "Analysis of classifier-free guidance weight schedulers")
    """

    rate: float

    kind: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        if not 0 < abs(self.rate) <= 50:
            raise InputError(f"{self}: found rate {self.rate:g}; accepted: −50 to 50, not 0.")
        super().__post_init__()

    def shape(self, u: Tensor) -> Tensor:
        return (self.rate * u).expm1() / math.expm1(self.rate)
