"""A weight that changes along half a cosine over the logarithm of the noise level."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.guidance.ramp import Ramp


@dataclass(frozen=True)
class Cosine(Ramp):
    """`cosine(zero, full)`: w(σ) = 1 + (w − 1)·(1 − cos πu)/2.

    u = ln(σ/zero)/ln(full/zero), limited to [0, 1].
    (Over time: Wang et al. 2024, "Analysis of classifier-free guidance weight schedulers")
    """

    kind: ClassVar[str] = "cosine"

    def shape(self, u: Tensor) -> Tensor:
        return (1 - (math.pi * u).cos()) / 2
