"""How much a degradation damages the base, as a calibration measures it."""

import math
from dataclasses import replace

from degradations.errors import RunError
from study.records.confirmation import Sets
from study.records.results import Results
from study.records.task import BASE, Task

ERROR = "trajectory_error"  # the score of a task of mean errors


def tasks(results: Results, name: str) -> list[Task]:
    """The evaluations of a denoiser that its damage needs, one per seed of the calibration."""
    spec = results.spec
    if name == BASE and spec.calibrate.by == "trajectory-error":
        return []  # errors are against the base
    alone = [replace(results.single(name), seed=seed) for seed in spec.calibration_seeds]
    if spec.calibrate.by != "trajectory-error":
        return alone
    return [replace(each, samples=spec.probe.images, mean_error=True) for each in alone]


def damage(results: Results, name: str) -> tuple[float, float | None] | None:
    """The damage of a denoiser and its standard error; None while an evaluation is missing.

    A multiple of the base's FD, FD∞ or share of data not covered, or the error along trajectories.
    It is infinite where an evaluation failed. The error is over samples, and None if it is not
    known: neither replicates nor several seeds.
    """
    by = results.spec.calibrate.by
    wanted = tasks(results, name)
    if any(task not in results.shared for task in wanted):
        return None
    if by == "trajectory-error":
        errors = results.sets(wanted, ERROR)
        return (errors.mean, _error(errors)) if len(errors) == len(wanted) else (math.inf, None)
    own, base = (_measured(results, tasks(results, each)) for each in (name, BASE))
    if own is None or base is None:
        return math.inf, None
    values = [_limit(each) if by == "fd-infinity" else each.mean for each in (own, base)]
    ratio = values[0] / values[1]
    error = _error(own - base.times(ratio))
    return ratio, None if error is None else error / values[1]


def require_base(results: Results) -> None:
    """Raises RunError if the base's damage is known and cannot be compared with.

    It failed, it is not positive, or the reference lacks what it is measured by.
    """
    if results.spec.calibrate.by == "trajectory-error":
        return
    wanted = tasks(results, BASE)
    if any(task not in results.shared for task in wanted):
        return
    reasons = (results.shared[task].reason for task in wanted)
    if failed := next(filter(None, reasons), ""):
        raise RunError(f"the base could not be scored: {failed}")
    measured, by = _measured(results, wanted), results.spec.calibrate.by
    if measured is None:
        raise RunError(
            f"calibrate.by: found {by}, which the evaluations of the base do not have; accepted: "
            "fd, or for recall a reference of images."
        )
    value = _limit(measured) if by == "fd-infinity" else measured.mean
    error = _error(measured) or 0.0
    if not value > 2 * error:
        raise RunError(
            f"calibrate.by: found {by}, by which the base has {value:.3g} ± {error:.2g}; accepted: "
            "a value above 0 beyond its error, as damage is a multiple of it."
        )


def _measured(results: Results, wanted: list[Task]) -> Sets | None:
    """FD, or the share of data not covered, of tasks; None if one has none."""
    metric = results.primary
    if results.spec.calibrate.by != "recall":
        found = results.sets(wanted, metric)
    else:
        covered = results.sets(wanted, metric.replace("fd_", "recall_", 1))
        found = Sets.of(list(1 - covered.values))
    return found if len(found) == len(wanted) else None


def _limit(sets: Sets) -> float:
    limit = sets.limit
    return sets.mean if limit is None else limit


def _error(sets: Sets) -> float | None:
    known = len(sets) > 1 or sets.within > 0
    return sets.error if known else None
