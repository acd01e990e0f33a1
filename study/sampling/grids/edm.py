"""The grid of the EDM papers."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import InputError, Levels
from study.sampling.grids.grid import Grid, levels_on


@dataclass(frozen=True)
class EDMGrid(Grid):
    """`edm(rho=7)`: σ = (σmax^{1/ρ} + u·(σmin^{1/ρ} − σmax^{1/ρ}))^ρ.

    Raises InputError unless ρ > 0. (Karras et al. 2022, eq. 5)
    """

    rho: float = 7.0

    kind: ClassVar[str] = "edm"

    def __post_init__(self) -> None:
        if not 0 < self.rho < float("inf"):
            raise InputError(f"sampler: found rho {self.rho}; accepted: a number above 0.")
        super().__post_init__()

    def between(self, high: float, low: float, u: Tensor) -> Tensor:
        ends = high ** (1 / self.rho), low ** (1 / self.rho)
        return (ends[0] + u * (ends[1] - ends[0])) ** self.rho


def edm_sigmas(
    steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0, levels: Levels | None = None
) -> Tensor:
    """The noise levels of N steps on this grid, and 0: [N + 1], float64; see `levels_on`."""
    return levels_on(EDMGrid(rho), steps, sigma_min, sigma_max, levels)
