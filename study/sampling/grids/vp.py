"""Noise levels at even times of the variance-preserving process."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from study.sampling.grids.grid import Grid

BETA_MIN, BETA_D = 0.1, 19.9


@dataclass(frozen=True)
class VPGrid(Grid):
    """`vp`: σ = √(e^{βd·t²/2 + βmin·t} − 1), t even between the times of σmax and σmin.

    βd = 19.9, βmin = 0.1. (Karras et al. 2022, table 1, "VP"; Song et al. 2021, appendix C)
    """

    kind: ClassVar[str] = "vp"

    def between(self, high: float, low: float, u: Tensor) -> Tensor:
        first, last = _time(high), _time(low)
        t = first + u * (last - first)
        return (BETA_D * t**2 / 2 + BETA_MIN * t).expm1().sqrt()


def _time(sigma: float) -> float:
    """The time at which the process has a noise level."""
    exponent = math.log1p(sigma**2)
    return (math.sqrt(BETA_MIN**2 + 2 * BETA_D * exponent) - BETA_MIN) / BETA_D
