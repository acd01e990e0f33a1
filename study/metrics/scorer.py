"""Scores of a tally, and the values from which their intervals are computed."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add

import numpy as np

from study.metrics.metric import metrics
from study.metrics.moments import Moments
from study.metrics.reference import Reference
from study.metrics.tally import Tally

Curve = list[tuple[float, float]]  # (n, FD of n samples)


def scores(tally: Tally, references: Mapping[str, Reference], suffix: str = "") -> dict[str, float]:
    """The scores of samples, each named by metric and extractor: `fd_digits`, `kd_digits`, ….

    `fd`, the Fréchet distance, with its parts `fd_…_mean`, |μ − μ_r|², and `fd_…_cov`, the rest,
    and the scores of every `Metric`. With a suffix (`_held_out`: `fd_digits_held_out`) the
    references are held-out data, of which only the distances are computed.
    """
    found: dict[str, float] = {}
    moments = tally.moments
    for name, reference in references.items():
        mean, covariance = reference.frechet.parts(moments[name].mean, moments[name].covariance)
        found[f"fd_{name}{suffix}"] = mean + covariance
        if not suffix:
            found |= {f"fd_{name}_mean": mean, f"fd_{name}_cov": covariance}
        for metric in metrics():
            values = metric.scores(name, tally, reference, bool(suffix))
            found |= {f"{key}_{name}{suffix}": value for key, value in values.items()}
    return found


def replicates(tally: Tally, references: Mapping[str, Reference]) -> dict[str, list[float]]:
    """`fd_<extractor>` without each of the G groups of a tally, for a jackknife.

    Empty if the tally has one group.
    """
    found = {}
    for name, reference in references.items():
        parts = tally.parts[name]
        if len(parts) > 1:
            left = ([*parts[:out], *parts[out + 1 :]] for out in range(len(parts)))
            found[f"fd_{name}"] = [_point(rest, reference)[1] for rest in left]
    return found


def reference_replicates(
    tally: Tally, references: Mapping[str, Reference]
) -> dict[str, list[float]]:
    """`fd_<extractor>` to the reference without each of its groups; empty if it has none."""
    moments = tally.moments
    return {
        f"fd_{name}": [
            part.distance(moments[name].mean, moments[name].covariance)
            for part in reference.without_each
        ]
        for name, reference in references.items()
        if reference.parts
    }


def size_curves(tally: Tally, references: Mapping[str, Reference]) -> dict[str, list[Curve]]:
    """`fd_<extractor>` as a function of the number of samples, for `extrapolate`.

    First of all groups, then without each group. A curve has the mean FD over all its groups, over
    halves and over thirds of them: for each size every run of neighbouring groups, cyclically, so
    that all groups count the same. Smaller parts would add more bias than precision, because FD is
    linear in 1/n only if n is far above d. Ten groups take 101 distances, since runs recur. Empty
    if the tally has fewer than three groups.
    """
    return {
        f"fd_{name}": _curves(tally.parts[name], reference)
        for name, reference in references.items()
        if len(tally.parts[name]) > 2
    }


def _curves(parts: Sequence[Moments], reference: Reference) -> list[Curve]:
    known: dict[frozenset[int], tuple[float, float]] = {}

    def point(groups: Iterable[int]) -> tuple[float, float]:
        key = frozenset(groups)
        if key not in known:
            known[key] = _point([parts[group] for group in sorted(key)], reference)
        return known[key]

    def curve(groups: Sequence[int]) -> Curve:
        count, around = len(groups), [*groups, *groups]
        sizes = sorted({-(-count // divisor) for divisor in (1, 2, 3)})
        runs = [[point(around[start : start + size]) for start in range(count)] for size in sizes]
        return [(float(n), float(fd)) for n, fd in (np.mean(run, axis=0) for run in runs)]

    every = range(len(parts))
    return [curve(every), *(curve([group for group in every if group != out]) for out in every)]


def _point(parts: Sequence[Moments], reference: Reference) -> tuple[float, float]:
    """(n, FD) of several parts of a tally together."""
    moments = reduce(add, parts)
    return moments.n, reference.frechet.distance(moments.mean, moments.covariance)
