"""Paired comparisons over seed sets and the verdict; intervals from groups of samples, the best
weight, FD∞."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from degradations.errors import InputError

Verdict = Literal["improves", "blends", "no gain", "undecided"]
LEAST = 0.05  # a gain smaller than this share of the damage counts as none
# a parabola is fitted to the floor of a valley: where FD is at most a tenth above the least
FLOOR = 1.1


@dataclass(frozen=True)
class Comparison:
    """FD at a weight, paired over seed sets with FD at weight 1 and of the base.

    recovered: mean(d)/mean(c), d = FD(1) − FD(w), c = FD(1) − FD(base), or None where mean(c) is
    not positive at 95 %; recovered_ci: its interval at 95 %; gain, gain_low, gain_high: mean(d) and
    its one-sided bounds at 95 %.
    """

    verdict: Verdict
    recovered: float | None
    recovered_ci: tuple[float, float] | None
    gain: float
    gain_low: float
    gain_high: float


def compare(
    weight: float, base: Sequence[float], main: Sequence[float], guided: Sequence[float]
) -> Comparison:
    """Compare FD(w) with FD(1) and FD(base) over R ≥ 2 seed sets, each sequence of length R in the
    same order.

    *improves* (w > 1) or *blends* (w < 1) if mean(d) − t₀.₉₅,R₋₁·sd(d)/√R > 0.05·mean(c); *no gain*
    if mean(d) + t₀.₉₅,R₋₁·sd(d)/√R < 0.05·mean(c); otherwise *undecided*. The interval of recovered
    is ± t₀.₉₇₅,R₋₁·sd(d − recovered·c)/(√R·mean(c)) (delta method). Where mean(c) ≤ 0 nothing was
    damaged, and the bounds are compared with 0. Raises InputError for fewer than two seed sets or
    unequal lengths.
    """
    if not len(base) == len(main) == len(guided) >= 2:
        raise InputError(
            f"at least 2 paired seed sets are wanted, found {len(base)}, {len(main)} and "
            f"{len(guided)}."
        )
    r = len(base)
    d, c = np.subtract(main, guided), np.subtract(main, base)
    root, t95, t975 = math.sqrt(r), float(stdtrit(r - 1, 0.95)), float(stdtrit(r - 1, 0.975))
    gain, damage, half = float(d.mean()), float(c.mean()), t95 * float(d.std(ddof=1)) / root
    least = LEAST * max(damage, 0.0)
    verdict: Verdict = "undecided"
    if gain - half > least:
        verdict = "improves" if weight > 1 else "blends"
    elif gain + half < least:
        verdict = "no gain"
    recovered, interval = None, None
    if damage - t95 * float(c.std(ddof=1)) / root > 0:
        recovered = gain / damage
        width = t975 * float((d - recovered * c).std(ddof=1)) / (root * damage)
        interval = (recovered - width, recovered + width)
    return Comparison(verdict, recovered, interval, gain, gain - half, gain + half)


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval."""

    mean: float
    low: float
    high: float


def jackknife(value: float, replicates: Sequence[float], level: float = 0.95) -> Interval:
    """A statistic of samples, ± t₍G₋₁₎·√((G − 1)/G·Σ(v_g − v̄)²), v_g being the statistic without
    the g-th of G groups.

    It says how the statistic would vary with other samples of the same denoiser; neither the
    reference nor the training is drawn anew. Infinite with fewer than two replicates. (Quenouille
    1956, Tukey 1958)
    """
    count = len(replicates)
    if count < 2:
        return Interval(value, -math.inf, math.inf)
    return _interval(value, math.sqrt((count - 1) * float(np.var(replicates))), count, level)


def difference(
    a: float,
    b: float,
    replicates_a: Sequence[float],
    replicates_b: Sequence[float],
    level: float = 0.95,
) -> Interval:
    """FD(a) − FD(b) on common random numbers: `jackknife` of the difference, in which the common
    noise cancels.

    The replicates are without the same groups in the same order. Raises InputError for unequal
    numbers of them.
    """
    if len(replicates_a) != len(replicates_b):
        raise InputError(
            f"jackknife: as many groups of both are wanted, found {len(replicates_a)}, "
            f"{len(replicates_b)}."
        )
    return jackknife(a - b, [x - y for x, y in zip(replicates_a, replicates_b, strict=True)], level)


def extrapolate(
    curve: Sequence[tuple[float, float]],
    replicates: Sequence[Sequence[tuple[float, float]]],
    level: float = 0.95,
) -> Interval:
    """FD∞, the limit of FD(n) = FD∞ + b/n for infinitely many samples, by least squares; its
    interval by `jackknife`.

    curve: pairs (n, FD of n samples); replicates: the same without each group;
    `study.metrics.size_curves` gives both. It is nearly unbiased, so of a distance near 0 it may be
    below 0; and there, where FD is quadratic in the samples' errors, the interval is about half
    again as wide as need be. The reference stays what it is. Raises InputError for a curve with
    fewer than two different n. (Chong & Forsyth 2020, with whole groups for their random subsets)
    """
    return jackknife(_limit(curve), [_limit(other) for other in replicates], level)


@dataclass(frozen=True)
class BestWeight:
    """The weight of the least FD, the ends of its interval, infinite where nothing bounds it, and
    the FD there."""

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
    """Where log FD(w) ≈ a·w² + b·w + c is least, fitted around the least FD tried; its interval by
    `jackknife`.

    values: FD at each of M ≥ 1 different weights, on common random numbers; replicates: [M][G], FD
    without each group. The fit takes the three tried weights that bracket the least, and those next
    to them whose FD is up to a tenth above it: fewer would rest on the small differences of near
    weights, more on the skew of the curve's flanks. Of log FD, because guidance mends or spoils by
    a factor. The replicates are fitted at the same weights, so that they differ in their samples
    alone. The weight is kept within the fitted ones. An end of the interval is infinite where it
    lies beyond the tried weights, or where the least FD is at the last tried weight on that side.
    With fewer than three weights, or values that have no logarithm, it is the weight tried with the
    least, and nothing bounds it. Raises InputError for no weight, weights that come twice, and
    unequal lengths.
    """
    if not len(weights) == len(set(weights)) == len(values) == len(replicates) > 0:
        raise InputError(
            "best weight: different weights want an FD with replicates each, found "
            f"{list(weights)}."
        )
    if len({len(row) for row in replicates}) > 1:
        raise InputError("best weight: as many replicates are wanted at every weight.")
    order = np.argsort(weights)
    w = np.asarray(weights, float)[order]
    fd = np.column_stack([values, replicates])[order]  # the FD itself, then a column a group
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
    """The run of indices around the least value: the three that bracket it (at an end, the last
    three), and FLOOR."""
    first = min(max(least - 1, 0), len(values) - 3)
    last = first + 2
    while first > 0 and values[first - 1] <= FLOOR * values[least]:
        first -= 1
    while last < len(values) - 1 and values[last + 1] <= FLOOR * values[least]:
        last += 1
    return slice(first, last + 1)


def _vertex(a: float, b: float, first: float, last: float) -> float:
    """Where a·w² + b·w is least: anywhere if it opens upwards, and otherwise at the lower end of
    [first, last]."""
    if a > 0:
        return -b / (2 * a)
    return first if a * (first + last) + b > 0 else last


def _limit(curve: Sequence[tuple[float, float]]) -> float:
    n, fd = np.transpose(curve)
    if len(set(n)) < 2:
        raise InputError(
            f"FD∞: FDs of at least 2 different numbers of samples are wanted, found {list(n)}."
        )
    return float(np.polyfit(1 / n, fd, 1)[1])


def _interval(value: float, error: float, count: int, level: float) -> Interval:
    half = float(stdtrit(count - 1, (1 + level) / 2)) * error
    return Interval(value, value - half, value + half)
