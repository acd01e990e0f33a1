"""The contract of a grid: the noise levels that a sampler visits."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from degradations import InputError, Levels
from degradations.named import Named, named, read


@dataclass(frozen=True)
class Grid(Named, ABC):
    """N noise levels that fall from high to low."""

    @abstractmethod
    def between(self, high: float, low: float, u: Tensor) -> Tensor:
        """The level at each u in [0, 1], float64: high at 0, low at 1."""
        raise NotImplementedError


def grids() -> dict[str, type[Grid]]:
    """All grids by name, in alphabetical order."""
    return named(Grid)


def grid_of(name: str) -> Grid:
    """The grid of a name, such as `edm` or `edm(rho=3)`. Raises InputError if there is none."""
    return read(name, grids(), f"sampler.grid: '{name[:80]}'", "a grid")


def levels_on(
    grid: Grid, steps: int, sigma_min: float, sigma_max: float, levels: Levels | None = None
) -> Tensor:
    """The noise levels of N steps on a grid, and 0: [N + 1], float64.

    levels: those of the denoiser (`Denoiser.levels`), None for all. σmin is raised to their lowest,
    σmax lowered to their highest, and every level rounded to the nearest of their table, as EDM
    samples the VP, VE and iDDPM networks. Raises InputError unless N ≥ 2, 0 < σmin < σmax and some
    of the levels lie between σmin and σmax.
    """
    if steps < 2:
        raise InputError(f"sampler: found steps {steps}; accepted: at least 2.")
    if not 0 < sigma_min < sigma_max < float("inf"):
        raise InputError(
            f"sampler: found sigma_min {sigma_min}, sigma_max {sigma_max}; accepted: "
            "0 < sigma_min < sigma_max."
        )
    levels = levels or Levels()
    low, high = max(sigma_min, levels.low), min(sigma_max, levels.high)
    if not low < high:
        raise InputError(
            f"sampler: found sigma_min {sigma_min:g}, sigma_max {sigma_max:g}; accepted: noise "
            f"levels that the denoiser was made for, {levels.low:.4g} to {levels.high:.4g}."
        )
    found = grid.between(high, low, torch.linspace(0, 1, steps, dtype=torch.float64))
    return torch.tensor([*map(levels.nearest, found.tolist()), 0.0], dtype=torch.float64)


def listed(sigmas: Sequence[float], steps: int, levels: Levels | None = None) -> Tensor:
    """A list of one's own as the noise levels of N steps, and 0: [N + 1], float64.

    Its own number of steps gives the list itself; for another number ln σ is interpolated over the
    place in the list. Raises InputError for levels that the denoiser was not made for.
    """
    levels, own = levels or Levels(), torch.tensor(sigmas, dtype=torch.float64)
    if float(own[0]) > 1.01 * levels.high or float(own[-1]) < 0.99 * levels.low:
        raise InputError(
            f"sampler.sigmas: found {sigmas[0]:g} to {sigmas[-1]:g}; accepted: noise levels that "
            f"the denoiser was made for, {levels.low:.4g} to {levels.high:.4g}."
        )
    if steps != len(sigmas):
        at = torch.linspace(0, len(sigmas) - 1, steps, dtype=torch.float64)
        below = at.floor().long().clamp(max=len(sigmas) - 2)
        logs, part = own.log(), at - below
        own = ((1 - part) * logs[below] + part * logs[below + 1]).exp()
    return torch.tensor([*map(levels.nearest, own.tolist()), 0.0], dtype=torch.float64)
