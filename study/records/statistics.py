"""Statistics of one seed set: jackknife intervals, the best weight, FD∞."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from degradations.errors import InputError

# a parabola is fitted where FD is at most a tenth above its minimum
FLOOR = 1.1


@dataclass(frozen=True)
class Estimate:
    """An estimate and the ends of its interval."""

    mean: float
    low: float
    high: float


def jackknife(value: float, replicates: Sequence[float], level: float = 0.95) -> Estimate:
    """The jackknife interval of a statistic of samples, ± t₍G₋₁₎·√((G − 1)/G·Σ(v_g − v̄)²).

    v_g is the statistic without the g-th of G groups. The interval covers the variation over
    samples of the same denoiser, not over references or trainings. It is infinite with fewer than
    two replicates. (Quenouille 1956, Tukey 1958)
    """
    count = len(replicates)
    if count < 2:
        return Estimate(value, -math.inf, math.inf)
    error = math.sqrt((count - 1) * float(np.var(replicates)))
    return t_interval(value, error, count - 1, level)


def difference(
    a: float,
    b: float,
    replicates_a: Sequence[float],
    replicates_b: Sequence[float],
    level: float = 0.95,
) -> Estimate:
    """FD(a) − FD(b) with common random numbers: `jackknife` of the difference.

    The common noise cancels. The replicates leave out the same groups in the same order. Raises
    InputError for unequal numbers of replicates.
    """
    if len(replicates_a) != len(replicates_b):
        raise InputError(
            f"jackknife: found {len(replicates_a)} and {len(replicates_b)} groups; both numbers "
            "must be equal."
        )
    return jackknife(a - b, [x - y for x, y in zip(replicates_a, replicates_b, strict=True)], level)


def extrapolate(
    curve: Sequence[tuple[float, float]],
    replicates: Sequence[Sequence[tuple[float, float]]],
    level: float = 0.95,
) -> Estimate:
    """FD∞, the limit of FD(n) = FD∞ + b/n for n → ∞, by least squares; interval by `jackknife`.

    curve: pairs (n, FD of n samples); replicates: the same without each group;
    `study.metrics.size_curves` returns both. The estimate is nearly unbiased, so for a distance
    near 0 it may be negative; there FD is quadratic in the samples' errors, and the interval is
    about 1.5 times as wide as necessary. The reference is fixed. Raises InputError for a curve with
    fewer than two different n. (Chong & Forsyth 2020, with whole groups for their random subsets)
    """
    return jackknife(_limit(curve), [_limit(other) for other in replicates], level)


@dataclass(frozen=True)
class BestWeight:
    """The weight of the minimal FD, the ends of its interval, infinite if unbounded, and the FD."""

    weight: float
    low: float
    high: float
    fd: float


def best_weight(
    weights: Sequence[float],
    values: Sequence[float],
    replicates: Sequence[Sequence[float]],
    level: float = 0.95,
) -> BestWeight:
    """The minimum of log FD(w) ≈ a·w² + b·w + c, fitted around the lowest FD tried.

    values: FD at each of M ≥ 1 different weights, with common random numbers; replicates: [M][G],
    FD without each group, for the interval by `jackknife`. The fit uses the three tried weights
    that bracket the minimum, and their neighbours whose FD is up to a tenth above it: fewer would
    make it depend on small differences of close weights, more on the asymmetry of the curve. log FD
    is fitted because guidance changes FD by a factor. The replicates are fitted at the same
    weights, so that only their samples differ. The minimum is limited to the fitted weights. An end
    of the interval is infinite if it is beyond the tried weights, or if the lowest FD is at the
    last tried weight on that side. With fewer than three weights, or values without a logarithm,
    the result is the weight with the lowest FD, unbounded. Raises InputError for no weights,
    repeated weights and unequal lengths.
    """
    if not len(weights) == len(set(weights)) == len(values) == len(replicates) > 0:
        raise InputError(
            f"best weight: found the weights {list(weights)}; they must be different, and each "
            "needs an FD with replicates."
        )
    if len({len(row) for row in replicates}) > 1:
        raise InputError(
            "best weight: found unequal numbers of replicates; every weight needs as many."
        )
    order = np.argsort(weights)
    w = np.asarray(weights, float)[order]
    fd = np.column_stack([values, replicates])[order]  # FD, then one column per group
    least = int(fd[:, 0].argmin())
    if len(w) < 3 or fd.min() <= 0:
        return BestWeight(float(w[least]), -math.inf, math.inf, float(fd[least, 0]))
    floor, origin = _floor(fd[:, 0], least), w[least]
    first, last = float(w[floor][0]), float(w[floor][-1])
    fits = np.polyfit(w[floor] - origin, np.log(fd[floor]), 2).T
    vertices = [float(origin) + _vertex(a, b, first - origin, last - origin) for a, b, _ in fits]
    found, weight = jackknife(vertices[0], vertices[1:], level), min(max(vertices[0], first), last)
    return BestWeight(
        weight,
        -math.inf if least == 0 or found.low < w[0] else min(found.low, weight),
        math.inf if least == len(w) - 1 or found.high > w[-1] else max(found.high, weight),
        float(np.exp(np.polyval(fits[0], weight - origin))),
    )


def _floor(values: npt.NDArray[np.float64], least: int) -> slice:
    """The indices to fit: three that bracket the minimum, or the last three, and those in FLOOR."""
    first = min(max(least - 1, 0), len(values) - 3)
    last = first + 2
    while first > 0 and values[first - 1] <= FLOOR * values[least]:
        first -= 1
    while last < len(values) - 1 and values[last + 1] <= FLOOR * values[least]:
        last += 1
    return slice(first, last + 1)


def _vertex(a: float, b: float, first: float, last: float) -> float:
    """The minimum of a·w² + b·w: its vertex if a > 0, otherwise the lower end of [first, last]."""
    if a > 0:
        return -b / (2 * a)
    return first if a * (first + last) + b > 0 else last


def _limit(curve: Sequence[tuple[float, float]]) -> float:
    n, fd = np.transpose(curve)
    if len(set(n)) < 2:
        raise InputError(
            f"FD∞: found numbers of samples {list(n)}; at least 2 different ones are needed."
        )
    return float(np.polyfit(1 / n, fd, 1)[1])


def t_interval(value: float, error: float, degrees: int, level: float = 0.95) -> Estimate:
    """value ± t·error, with Student's quantile of so many degrees of freedom."""
    half = float(stdtrit(degrees, (1 + level) / 2)) * error
    return Estimate(value, value - half, value + half)
