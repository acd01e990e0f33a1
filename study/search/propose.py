"""The next evaluation of a search, as a function of the known ones, so that it can be resumed."""

import hashlib
import math
import warnings
from collections.abc import Mapping

import optuna

from study.records.results import Results
from study.records.statistics import difference
from study.records.task import Evaluation, Task
from study.sampling import nfe
from study.search.space import distributions, parameters, with_parameters
from study.specs import PairingSpec

# distance between weights that are tried outwards: wide enough to show curvature, near enough for a
# parabola
APART = 0.25
# further weights of a pairing that is searched although its probes predict no gain
SCREEN = (1.5, 2.0, 0.5)


def propose(results: Results, pairing: PairingSpec, screen: bool = True) -> Task | None:
    """The next evaluation of a pairing's search, or None if it has ended.

    For the method 'probe' the endpoint probe must be in `results.shared`.
    """
    spec, done = results.spec.search, results.searches[pairing]
    if len(done) >= spec.trials and spec.method != "grid":
        return None
    if spec.method == "grid":
        tried = {e.task.weight for e in done}
        left = [weight for weight in spec.weights if weight not in tried]
        return results.searched(pairing, left[0]) if left else None
    task = (
        _gaussian_process(results, pairing)
        if spec.method == "gp"
        else _around_the_probe(results, pairing, screen)
    )
    return task if task is not None and _affordable(results, pairing, task) else None


def spent(results: Results, pairing: PairingSpec) -> int:
    """Network evaluations per sample (NFE) that a pairing's search has made.

    These are main alone, for the method 'probe' guide alone, and guided sampling. A guidance
    interval needs fewer, which is not taken into account.
    """
    guided = sum(1 for e in results.searches[pairing] if e.task.weight != 1)
    return nfe(results.spec.sampler) * (
        2 * guided + (2 if results.spec.search.method == "probe" else 1)
    )


def _affordable(results: Results, pairing: PairingSpec, task: Task) -> bool:
    budget = results.spec.search.budget
    more = 0 if task.weight == 1 else 2 * nfe(results.spec.sampler)
    return budget is None or spent(results, pairing) + more <= budget


def _around_the_probe(results: Results, pairing: PairingSpec, screen: bool) -> Task | None:
    """The next weight of a search that the endpoint weight guides.

    In order: w = 1; the weights beside it, whose difference is the slope; if FD rises on both sides
    and the probe predicts about 1, nothing more (`screen`) or the weights SCREEN; the endpoint
    weight, if it is on the falling side, or one further out; outwards until the minimum is
    bracketed; the minimum of the parabola.
    """
    spec, metric = results.spec.search, results.primary
    curve = {e.task.weight: e for e in results.searches[pairing]}
    low, high = spec.weights[0], spec.weights[-1]

    def next_of(*wanted: float) -> Task | None:
        """The task of the first of these weights that is in the range and not tried."""
        inside = (spec.snap(weight) for weight in wanted if low - 1e-9 <= weight <= high + 1e-9)
        weight = next((weight for weight in inside if weight not in curve), None)
        return None if weight is None else results.searched(pairing, weight)

    if (task := next_of(1.0, *results.beside)) is not None:
        return task
    start = _start(results, pairing, curve)
    if start is None:
        return None if screen else next_of(*SCREEN)
    if (task := next_of(start)) is not None:
        return task
    tried = sorted(weight for weight, e in curve.items() if metric in e.scores)
    if not tried:
        return None
    at = tried.index(min(tried, key=lambda weight: (curve[weight].scores[metric], abs(weight - 1))))
    apart = max(APART, spec.step)
    steps = [apart * n for n in range(1, 1 + int((high - low) / apart))]
    if at == len(tried) - 1:
        outwards = next_of(*(tried[-1] + step for step in steps), high)
    elif at == 0:
        outwards = next_of(*(tried[0] - step for step in steps), low)
    else:
        outwards = None
    if outwards is not None:
        return outwards
    best = results.best(pairing, metric)
    if best is None or (spec.tolerance is not None and best.high - best.low < spec.tolerance):
        return None
    return next_of(best.weight, best.weight - spec.step, best.weight + spec.step)


def _start(
    results: Results, pairing: PairingSpec, curve: Mapping[float, Evaluation]
) -> float | None:
    """The first weight to try away from 1; None if FD rises beside 1 and the probe predicts 1.

    The endpoint weight, unless FD falls on the other side of 1 only, or that weight is beside 1:
    then the next one out on the side where FD is lower.
    """
    spec, metric = results.spec.search, results.primary
    probe = results.shared[results.endpoints(pairing)].scores.get(f"endpoint_weight_{metric}", 1.0)
    beside = results.beside
    predicted = spec.snap(probe)
    is_near = min([*beside, 1.0]) <= predicted <= max([*beside, 1.0])
    falls = [weight for weight in beside if not _rises(curve, metric, weight)]
    if not falls:
        return None if is_near else predicted
    if not is_near and any((weight > 1) == (predicted > 1) for weight in falls):
        return predicted
    side = min(falls, key=lambda weight: curve[weight].scores[metric])
    return spec.snap(1 + math.copysign(max(APART, spec.step), side - 1))


def _rises(curve: Mapping[float, Evaluation], metric: str, beside: float) -> bool:
    """Whether FD at a weight beside 1 exceeds that at 1, at 95 %, with common random numbers."""
    one, other = curve[1.0], curve[beside]
    if metric not in one.scores or metric not in other.scores:
        return True  # without finite guided samples there is no evidence of a gain
    gap = difference(
        other.scores[metric], one.scores[metric], other.replicates(metric), one.replicates(metric)
    )
    return gap.low > 0


def _gaussian_process(results: Results, pairing: PairingSpec) -> Task | None:
    """The design's weights, then expected improvement under a Gaussian process.

    The process has no noise, as all weights share their seeds.
    """
    spec, done = results.spec.search, results.searches[pairing]
    tried = {e.task for e in done}
    design = [results.searched(pairing, spec.snap(weight)) for weight in spec.design]
    left = [task for task in dict.fromkeys(design) if task not in tried]
    if left:
        return left[0]
    if not spec.more and {e.task.weight for e in done} >= set(spec.weights):
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    digest = hashlib.blake2b(f"{results.spec.seed}|{len(done)}".encode(), digest_size=4).digest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.GPSampler(
            seed=int.from_bytes(digest, "little"), n_startup_trials=1, deterministic_objective=True
        )
    study, space = (
        optuna.create_study(sampler=sampler, direction="minimize"),
        distributions(spec, pairing),
    )
    for e in done:
        if results.primary in e.scores:
            params = parameters(spec, pairing, e.task)
            study.add_trial(
                optuna.create_trial(
                    params=params, distributions=space, value=e.scores[results.primary]
                )
            )
    proposal = study.ask(space).params
    near = sorted(spec.weights, key=lambda weight: (abs(weight - proposal["weight"]), weight))
    tasks = (_task(results, pairing, {**proposal, "weight": weight}) for weight in near)
    return next((task for task in tasks if task not in tried), None)


def _task(results: Results, pairing: PairingSpec, params: dict[str, float | str]) -> Task:
    """The task of parameters; at weight 1 it is the main alone, whatever the others are."""
    search = results.spec.search
    task = results.searched(pairing, search.snap(float(params["weight"])))
    return task if task.weight == 1 else with_parameters(search, pairing, task, params)
