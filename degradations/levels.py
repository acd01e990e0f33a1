"""The noise levels that a denoiser was made for."""

import math
from dataclasses import dataclass

from degradations.errors import InputError


@dataclass(frozen=True)
class Levels:
    """The noise levels that a denoiser was made for: an interval, or those of a table.

    A sampler starts and ends within [low, high], and uses the nearest levels of the table. table:
    rising or falling; empty if every level is accepted. Raises InputError unless 0 ≤ low < high.
    (Karras et al. 2022, table 1, "Time steps")
    """

    low: float = 0.0
    high: float = math.inf
    table: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high:
            raise InputError(
                f"noise levels: found {self.low:g} to {self.high:g}; accepted: 0 ≤ low < high."
            )

    def nearest(self, sigma: float) -> float:
        """The level of the table that is nearest to σ; σ itself if there is no table."""
        return min(self.table, key=lambda level: abs(level - sigma)) if self.table else sigma
