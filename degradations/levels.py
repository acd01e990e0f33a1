"""The noise levels that a denoiser was made for."""

import math
from dataclasses import dataclass

from degradations.errors import InputError


@dataclass(frozen=True)
class Levels:
    """The noise levels that a denoiser was made for: all from low to high, or of these only the
    ones in a table.

    A sampler begins and ends within them, and takes the nearest of the table. table: rising or
    falling; empty where every level does. Raises InputError unless 0 ≤ low < high. (Karras et al.
    2022, table 1, "Time steps")
    """

    low: float = 0.0
    high: float = math.inf
    table: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise InputError(
                f"noise levels from {self.low:g} to {self.high:g}: accepted is 0 ≤ lowest < "
                "highest."
            )

    def nearest(self, sigma: float) -> float:
        """The level of the table that is nearest to σ; σ itself where there is no table."""
        return min(self.table, key=lambda level: abs(level - sigma)) if self.table else sigma
