"""A weight that changes as a power over the logarithm of the noise level."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.ramp import Ramp


@dataclass(frozen=True)
class Power(Ramp):
    """`power(zero, full, exponent)`: w(σ) = 1 + (w − 1)·u^exponent.

    u = ln(σ/zero)/ln(full/zero), limited to [0, 1]. Raises InputError unless the exponent is
    above 0.
    (Over time: Wang et al. 2024, "Analysis of classifier-free guidance weight schedulers")
    """

    exponent: float

    kind: ClassVar[str] = "power"

    def __post_init__(self) -> None:
        if not 0 < self.exponent < math.inf:
            raise InputError(
                f"{self}: found exponent {self.exponent:g}; accepted: above 0, finite."
            )
        super().__post_init__()

    def shape(self, u: Tensor) -> Tensor:
        return u**self.exponent
