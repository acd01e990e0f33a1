"""Noise levels with evenly spaced logarithms."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from study.sampling.grids.grid import Grid


@dataclass(frozen=True)
class LogSNRGrid(Grid):
    """`log-snr`: ln σ = ln σmax + u·(ln σmin − ln σmax), the logarithm of 1/σ² even.

    (Lu et al. 2022, DPM-Solver, § 3.3)
    """

    kind: ClassVar[str] = "log-snr"

    def between(self, high: float, low: float, u: Tensor) -> Tensor:
        return (math.log(high) + u * (math.log(low) - math.log(high))).exp()
