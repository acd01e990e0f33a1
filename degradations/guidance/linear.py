"""A weight that changes linearly over the logarithm of the noise level."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.guidance.ramp import Ramp


@dataclass(frozen=True)
class Linear(Ramp):
    """`linear(zero, full)`: w(σ) = 1 + (w − 1)·u.

    u = ln(σ/zero)/ln(full/zero), limited to [0, 1].
    (Over time: Wang et al. 2024, "Analysis of classifier-free guidance weight schedulers")
    """

    kind: ClassVar[str] = "linear"

    def shape(self, u: Tensor) -> Tensor:
        return u
