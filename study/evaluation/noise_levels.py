"""The noise levels of a study: those of its sampler, limited to the range of its base."""

from degradations import InputError, Levels
from study.checkpoints import Base
from study.sampling import EDMGrid, grid_of, levels_on, listed
from study.specs import SamplerSpec


def visited(sampler: SamplerSpec, base: Base, steps: int) -> list[float]:
    """The noise levels visited in `steps` steps, descending, and 0: [steps + 1].

    Raises InputError if the base supports none of the sampler's noise levels.
    """
    return _sigmas(sampler, base.denoiser.levels(), steps)


def limited(sampler: SamplerSpec, base: Base) -> str | None:
    """A description of the visited levels if the base limits the sampler's; None if it does not.

    Raises InputError as `visited` does.
    """
    levels, sigmas = base.denoiser.levels(), visited(sampler, base, sampler.steps)
    if sigmas == _sigmas(sampler, Levels(), sampler.steps):
        return None
    rounded = f", rounded to the nearest of {len(levels.table)}" if levels.table else ""
    return f"{sigmas[0]:.6g} to {sigmas[-2]:.6g}{rounded}"


def check(sampler: SamplerSpec, base: Base, other: Base) -> None:
    """Raises InputError if a study of `base` exceeds the noise levels of `other` by more than 1 %.

    other may be the base itself.
    """
    highest = sampler.sigmas[0] if sampler.sigmas else sampler.sigma_max
    if highest > 1.01 * other.sigma_max:
        raise InputError(
            f"sampler.sigma_max: found {highest:g}; accepted: at most "
            f"{other.sigma_max:.4g}, the largest that {other.name} was trained on."
        )
    first, *_, last, _ = visited(sampler, base, sampler.steps)
    levels = other.denoiser.levels()
    if first > 1.01 * levels.high or last < 0.99 * levels.low:
        raise InputError(
            "sampler.sigma_min, sampler.sigma_max: the study samples at noise levels from "
            f"{last:.4g} to {first:.4g}, and {other.name} supports {levels.low:.4g} to "
            f"{levels.high:.4g}; accepted: values that all networks of the study support."
        )


def _sigmas(sampler: SamplerSpec, levels: Levels, steps: int) -> list[float]:
    if sampler.sigmas:
        return listed(sampler.sigmas, steps, levels).tolist()
    grid = EDMGrid(sampler.rho) if sampler.grid == EDMGrid.kind else grid_of(sampler.grid)
    return levels_on(grid, steps, sampler.sigma_min, sampler.sigma_max, levels).tolist()
