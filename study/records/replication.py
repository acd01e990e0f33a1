"""What a study over several bases concludes: intervals over trainings, and where variance is from.

A base is one training (and one split of the data). Of every base a pairing has the mean of its
gain and of its damage over seed sets; the bases are the independent units, so intervals and tests
are Student's, of one value per base.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from degradations.errors import InputError
from study.records.confirmation import LEAST, NONE, Sets
from study.records.statistics import Estimate, t_interval

Array = npt.NDArray[np.float64]
SIMULATED = 20_000  # draws of the pivots behind the interval of a variance


@dataclass(frozen=True)
class OverBases:
    """The gain of one pairing over B bases.

    gain, damage: [B], the means over seed sets of FD(1) − FD(w) and FD(1) − FD(base), each at its
    base's own weight. tested: [B], the gain at the tested weight, which differs from the gain where
    a search preferred weight 1: there nothing is gained. Raises InputError for fewer than two
    bases, and for unequal numbers.
    """

    gain: Sequence[float]
    damage: Sequence[float]
    tested: Sequence[float]

    def __post_init__(self) -> None:
        if not len(self.gain) == len(self.damage) == len(self.tested) > 1:
            raise InputError(
                f"bases: found {len(self.gain)}; accepted: at least 2, for an interval over them."
            )

    @property
    def p(self) -> float:
        """That the mean gain is no larger than 5 % of the mean damage: paired, one-sided."""
        return 1 - self._cumulative(self.gain)

    @property
    def is_none(self) -> bool:
        """Whether at the tested weights a gain of 5 % of the damage is excluded, at 5 %."""
        return self._cumulative(self.tested) <= NONE

    def recovered(self, coverage: float = 0.95) -> Estimate | None:
        """mean(gain)/mean(damage), with a t-interval over bases by the delta method.

        None unless the mean damage is positive at 95 %.
        """
        gain, damage = np.asarray(self.gain), np.asarray(self.damage)
        if _t(damage) <= stdtrit(len(damage) - 1, 0.95):
            return None
        ratio = float(gain.mean() / damage.mean())
        error = _error((gain - ratio * damage) / damage.mean())
        return t_interval(ratio, error, len(damage) - 1, coverage)

    def _cumulative(self, gain: Sequence[float]) -> float:
        """P(t ≤ that of the gain less 5 % of the damage); without damage, less nothing."""
        damage = np.asarray(self.damage)
        share = LEAST if damage.mean() > 0 else 0.0
        return float(stdtr(len(damage) - 1, _t(np.asarray(gain) - share * damage)))


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a quantity, each with its interval: where its variation comes from.

    training: between bases, beyond what their samples explain; sampling: between seed sets of one
    base; reference: over samples of the reference, None if that is not known.
    """

    training: Estimate
    sampling: Estimate
    reference: Estimate | None


def spread(
    bases: Sequence[Sets], by_reference: Sequence[Sets], own_reference: bool, level: float = 0.95
) -> Spread:
    """The components of a quantity that is known of every base over its seed sets.

    bases: one `Sets` each, whose errors pool seed sets and tenths of their samples; by_reference:
    the same values, with replicates without each tenth of the reference; empty if not known.
    own_reference: each base has its own, whose variation is then part of that between bases. With
    S²_a between the means of B bases, S² of one seed set, R̃ the harmonic mean of the numbers of
    sets, the training's variance is S²_a − S²/R̃ (− that of the reference); its interval simulates
    the pivots (B − 1)S²_a/χ² and νS²/χ² (a generalised interval, Weerahandi 1993). Raises
    InputError for fewer than two bases.
    """
    if len(bases) < 2:
        raise InputError(f"bases: found {len(bases)}; accepted: at least 2.")
    rng = np.random.default_rng(0)
    means, sets = np.array([each.mean for each in bases]), [len(each) for each in bases]
    degrees = [len(each) - 1 + each.within * len(each) for each in bases]
    if not all(degrees):
        raise InputError("seed sets: found one of a base; accepted: at least 2.")
    own = [each.error**2 * len(each) for each in bases]
    sampling = float(np.average(own, weights=degrees))
    reference, of_reference = None, np.zeros(SIMULATED)
    if by_reference:
        reference, of_reference = _of_reference(by_reference, rng)
    within = sampling * _pivot(rng, sum(degrees))
    between = float(means.var(ddof=1)) * _pivot(rng, len(bases) - 1)
    each_mean = float(np.mean([1 / n for n in sets]))
    taken = own_reference and reference is not None
    training = float(means.var(ddof=1)) - sampling * each_mean
    training -= reference**2 if taken and reference is not None else 0.0
    draws = between - within * each_mean - (of_reference if taken else 0.0)

    def deviation(variance: float, simulated: Array) -> Estimate:
        ends = np.quantile(simulated, [(1 - level) / 2, (1 + level) / 2])
        low, high = (math.sqrt(max(float(each), 0.0)) for each in ends)
        return Estimate(math.sqrt(max(variance, 0.0)), low, high)

    return Spread(
        deviation(training, draws),
        deviation(sampling, within),
        None if reference is None else deviation(reference**2, of_reference),
    )


def mean_over(values: Sequence[float], coverage: float = 0.95) -> Estimate | None:
    """The mean of one value per base, with its t-interval; None of fewer than two."""
    if len(values) < 2:
        return None
    return t_interval(float(np.mean(values)), _error(np.asarray(values)), len(values) - 1, coverage)


def _of_reference(by_reference: Sequence[Sets], rng: np.random.Generator) -> tuple[float, Array]:
    """The standard error that the reference causes, by the jackknife; and its pivots."""
    variances, g = [], by_reference[0].replicates.shape[1]
    for each in by_reference:
        left = each.replicates.mean(axis=0)
        variances.append((g - 1) * float(left.var()))
    variance = float(np.mean(variances))
    return math.sqrt(variance), variance * _pivot(rng, g - 1)


def _pivot(rng: np.random.Generator, degrees: int) -> Array:
    """ν/χ²_ν: by it an estimated variance times is a draw of what it may be."""
    return degrees / rng.chisquare(degrees, SIMULATED)


def _t(x: Array) -> float:
    """The t-statistic of a mean; infinite, or 0, if nothing varies."""
    error = _error(x)
    if error == 0:
        return math.copysign(math.inf, x.mean()) if x.mean() else 0.0
    return float(x.mean()) / error


def _error(x: Array) -> float:
    return float(x.std(ddof=1)) / math.sqrt(len(x))
