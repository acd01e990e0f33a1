"""The noise levels that a study samples at: those of its sampler, as far as its base was made for
them."""

from degradations import InputError, Levels
from study.checkpoints import Base
from study.sampling import edm_sigmas
from study.specs import SamplerSpec


def visited(sampler: SamplerSpec, base: Base, steps: int) -> list[float]:
    """The noise levels that so many steps of a study of a base visit, falling, and 0: [steps + 1].

    Raises InputError where the base was made for none of the sampler's.
    """
    return _sigmas(sampler, base.denoiser.levels(), steps)


def limited(sampler: SamplerSpec, base: Base) -> str | None:
    """What is visited, in words, where the base was not made for all of the sampler's; None where
    it was.

    Raises InputError as `visited` does.
    """
    levels, sigmas = base.denoiser.levels(), visited(sampler, base, sampler.steps)
    if sigmas == _sigmas(sampler, Levels(), sampler.steps):
        return None
    rounded = f", rounded to the nearest of {len(levels.table)}" if levels.table else ""
    return f"{sigmas[0]:.6g} to {sigmas[-2]:.6g}{rounded}"


def check(sampler: SamplerSpec, base: Base, other: Base) -> None:
    """Raises InputError where a study of a base goes beyond the noise levels of another, or its
    own, by more than 1 %."""
    if sampler.sigma_max > 1.01 * other.sigma_max:
        raise InputError(
            f"sampler.sigma_max: found {sampler.sigma_max:g}, wanted at most "
            f"{other.sigma_max:.4g}, the noisiest that {other.name} was trained on."
        )
    first, *_, last, _ = visited(sampler, base, sampler.steps)
    levels = other.denoiser.levels()
    if first > 1.01 * levels.high or last < 0.99 * levels.low:
        raise InputError(
            "sampler.sigma_min, sampler.sigma_max: the study samples at noise levels from "
            f"{last:.4g} to {first:.4g}, and {other.name} was made for those from {levels.low:.4g} "
            f"to {levels.high:.4g}; accepted are values that all its networks were made for."
        )


def _sigmas(sampler: SamplerSpec, levels: Levels, steps: int) -> list[float]:
    return edm_sigmas(steps, sampler.sigma_min, sampler.sigma_max, sampler.rho, levels).tolist()
