"""Noise levels of the variance-exploding process."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from study.sampling.grids.grid import Grid


@dataclass(frozen=True)
class VEGrid(Grid):
    """`ve`: σ² = σmax²·(σmin²/σmax²)^u; the same levels as those of `log-snr`.

    (Karras et al. 2022, table 1, "VE"; Song et al. 2021, appendix C)
    """

    kind: ClassVar[str] = "ve"

    def between(self, high: float, low: float, u: Tensor) -> Tensor:
        square: Tensor = high**2 * (low**2 / high**2) ** u
        return square.sqrt()
