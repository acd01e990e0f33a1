"""The strategies of a search as samplers of Optuna: around the probe's weight, and Optuna's own."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from degradations import InputError
from study.records.statistics import best_weight, difference
from study.specs import SearchSpec

# distance between weights that are tried outwards: wide enough to show curvature, near enough for a
# parabola
APART = 0.25
# further weights of a pairing that is searched although its probes predict no gain
SCREEN = (1.5, 2.0, 0.5)
WARM = 10  # trials from which CMA-ES can be begun
REPLICATES = "replicates"  # user attribute of a trial: its score without each group of samples


class Scored(NamedTuple):
    """The score of a weight, and that without each of the groups of its samples, if known."""

    value: float
    replicates: Sequence[float] = ()


Curve = Mapping[float, Scored | None]  # by weight; None if it could not be scored


class ProbeSampler(BaseSampler):
    """Proposes the guidance weight around the one that the endpoint probe predicts.

    For any study of Optuna that minimises over one float parameter with a step. In order: w = 1;
    the weights beside it; if the score rises on both sides and about 1 is predicted, nothing more
    (screen) or the weights SCREEN; the predicted weight, if it is on the falling side, or one
    further out; outwards until the minimum is bracketed; the minimum of the parabola. Then it stops
    the study. Scores of trials are taken to share their random numbers; the user attribute
    'replicates' of a trial, its score without each group of samples, gives their differences
    intervals. Raises InputError for a parameter that is not such a weight.
    """

    def __init__(
        self, predicted: float, screen: bool = True, tolerance: float | None = None
    ) -> None:
        self.predicted, self.screen, self.tolerance = predicted, screen, tolerance

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> float:
        found = param_distribution
        if not isinstance(found, FloatDistribution) or found.step is None or found.log:
            raise InputError(
                f"{param_name}: found {found}; accepted: a float with a step, the guidance weight."
            )
        ends = (found.low, found.high)
        space = SearchSpec(weight=ends, step=found.step, tolerance=self.tolerance)
        curve: dict[float, Scored | None] = {}
        for each in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)):
            if param_name in each.params:
                known = each.state == TrialState.COMPLETE and each.value is not None
                replicates = each.user_attrs.get(REPLICATES, ())
                curve[space.snap(each.params[param_name])] = (
                    Scored(float(each.value or 0.0), replicates) if known else None
                )
        weight = next_weight(curve, space, self.predicted, self.screen)
        if weight is not None:
            return weight
        study.stop()
        return space.snap(self.predicted)


def next_weight(curve: Curve, space: SearchSpec, predicted: float, screen: bool) -> float | None:
    """The next weight of a search around a predicted one, or None if it has ended."""
    low, high = space.weights[0], space.weights[-1]

    def next_of(*wanted: float) -> float | None:
        """The first of these weights that is in the range and not tried."""
        inside = (space.snap(weight) for weight in wanted if low - 1e-9 <= weight <= high + 1e-9)
        return next((weight for weight in inside if weight not in curve), None)

    # What is tried after the best can be pruned, so the predicted weight comes first.
    first = [predicted] if space.prune and not _is_near(space, predicted) else []
    if (weight := next_of(1.0, *first, *space.beside)) is not None:
        return weight
    start = _start(curve, space, predicted)
    if start is None:
        return None if screen else next_of(*SCREEN)
    if (weight := next_of(start)) is not None:
        return weight
    scored = {weight: found for weight, found in curve.items() if found is not None}
    if not scored:
        return None
    tried = sorted(scored)
    at = tried.index(min(tried, key=lambda weight: (scored[weight].value, abs(weight - 1))))
    apart = max(APART, space.step)
    steps = [apart * n for n in range(1, 1 + int((high - low) / apart))]
    if at == len(tried) - 1:
        outwards = next_of(*(tried[-1] + step for step in steps), high)
    elif at == 0:
        outwards = next_of(*(tried[0] - step for step in steps), low)
    else:
        outwards = None
    if outwards is not None or len(tried) < 3:
        return outwards
    best = best_weight(
        tried,
        [scored[weight].value for weight in tried],
        [scored[weight].replicates for weight in tried],
    )
    if space.tolerance is not None and best.high - best.low < space.tolerance:
        return None
    return next_of(best.weight, best.weight - space.step, best.weight + space.step)


def _start(curve: Curve, space: SearchSpec, predicted: float) -> float | None:
    """The first weight to try away from 1; None if the score rises beside 1 and 1 is predicted.

    The predicted weight, unless the score falls on the other side of 1 only, or that weight is
    beside 1: then the next one out on the side where the score is lower.
    """
    beside, predicted = space.beside, space.snap(predicted)
    is_near = _is_near(space, predicted)
    one = curve[1.0]
    falls = [
        weight for weight in beside if (found := curve[weight]) and one and not _rises(one, found)
    ]
    if not falls:
        return None if is_near else predicted
    if not is_near and any((weight > 1) == (predicted > 1) for weight in falls):
        return predicted
    side = min(falls, key=lambda weight: (curve[weight] or one or Scored(0.0)).value)
    return space.snap(1 + math.copysign(max(APART, space.step), side - 1))


def _is_near(space: SearchSpec, predicted: float) -> bool:
    """Whether a predicted weight is 1 or beside it."""
    near = [*space.beside, 1.0]
    return min(near) <= space.snap(predicted) <= max(near)


def _rises(one: Scored, other: Scored) -> bool:
    """Whether a score exceeds that at 1, at 95 %, with common random numbers."""
    gap = difference(other.value, one.value, other.replicates, one.replicates)
    return gap.low > 0


def _gp(seed: int, trials: list[FrozenTrial]) -> BaseSampler:
    """Expected improvement under a Gaussian process without noise, as all trials share seeds."""
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, deterministic_objective=True)


def _tpe(seed: int, trials: list[FrozenTrial]) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, multivariate=True)


def _cmaes(seed: int, trials: list[FrozenTrial]) -> BaseSampler:
    """Begun anew at every proposal: from the middle of the space, or, of enough trials, from their
    best tenth (warm-starting CMA-ES, Nomura et al. 2021)."""
    source = trials if len(trials) >= WARM else None
    return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=1, source_trials=source)


SAMPLERS: dict[str, Callable[[int, list[FrozenTrial]], BaseSampler]] = {
    "gp": _gp,
    "tpe": _tpe,
    "cmaes": _cmaes,
}


def ask(
    method: str, seed: int, space: dict[str, BaseDistribution], trials: list[FrozenTrial]
) -> dict[str, Any]:
    """The parameters that one of SAMPLERS proposes after trials of a space."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=SAMPLERS[method](seed, trials), direction="minimize")
        study.add_trials(trials)
        return study.ask(space).params
