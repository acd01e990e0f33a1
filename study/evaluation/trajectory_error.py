"""The mean error of a denoiser along the base's trajectories, as one number."""

import math
from collections.abc import Sequence

from degradations import Denoiser, InputError, RunError
from study.evaluation.mean_errors import along_trajectories, mean_errors
from study.records.damage import ERROR
from study.records.task import Outcome
from study.sampling import Start, solver_of
from study.specs import ProbeSpec


def trajectory_error(
    base: Denoiser,
    denoiser: Denoiser,
    start: Start,
    sigmas: Sequence[float],
    solver: str,
    spec: ProbeSpec,
    seed: int,
) -> Outcome:
    """∫ √(E|e|²/d) d ln σ along the base's trajectories, in the units of the data.

    e(x, σ) is the mean error, of d elements. An error displaces a sample by e·dσ/σ, so this is, to
    first order, the most that all errors together displace it. Raises RunError for errors that are
    not finite.
    """
    points = along_trajectories(base, start, sigmas, solver, spec.levels)
    try:
        products = mean_errors(base, {"denoiser": denoiser}, points, spec.draws, seed)
    except InputError as error:
        raise RunError(str(error)) from None
    squared = products.gram[:, :, 0, 0].mean(axis=1) / points.x[0, 0].numel()
    # the weights are those of squares, (ln σᵢ/σᵢ₊₁)²
    parts = zip(squared, products.weights, strict=True)
    found = sum(math.sqrt(max(float(each), 0.0) * weight) for each, weight in parts)
    made = len(solver_of(solver).visits(sigmas)) + len(products.sigmas) * (1 + spec.draws)
    return Outcome({ERROR: found}, network_evaluations=points.x.shape[1] * made)
