"""Group-sequential tests: a confirmation may stop at a look, and its error rates hold all the same.

After n₁ < n₂ < … < n_K seed sets the statistic t_k of the differences so far is looked at. A test
of level α that spends α(n_k/n_K) up to look k (Lan & DeMets 1983, with O'Brien and Fleming's
spending function) stops where t_k is above the boundary b_k. The boundaries, p-values and intervals
are those of t-statistics, from a simulation of their joint distribution.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from degradations.errors import InputError

Array = npt.NDArray[np.float64]
DRAWS = (
    200_000  # simulated sequences: relative error of a boundary's level 1 % at 0.01, 2 % at 1e-4
)
SHIFTS = (0.0, 0.8, 1.6, 2.4, 3.2)  # means of the simulated differences, so that tails are drawn
HALVINGS = 24  # of an interval of 2 to 2⁻²³ standard deviations


def spending(level: float, share: float) -> float:
    """The part of a one-sided level that is spent at a share of the seed sets.

    α(τ) = 2 − 2Φ(z_{1−α/2}/√τ). (Lan & DeMets 1983, after O'Brien & Fleming 1979)
    """
    return float(2 - 2 * ndtr(ndtri(1 - level / 2) / np.sqrt(share)))


@dataclass(frozen=True)
class Sequential:
    """A test with looks after these numbers of seed sets, rising.

    within: degrees of freedom of the variance that each seed set adds by itself (the tenths of its
    samples), beside those between seed sets. Raises InputError for looks that do not rise, or that
    begin with fewer than two sets.
    """

    looks: tuple[int, ...]
    within: int = 0

    def __post_init__(self) -> None:
        if not self.looks or self.looks[0] < 2 or list(self.looks) != sorted(set(self.looks)):
            raise InputError(
                f"looks: found {self.looks}; accepted: rising numbers of seed sets, at least 2."
            )

    def boundary(self, level: float) -> tuple[float, ...]:
        """The boundaries b_k of a one-sided test of a level; infinite if nothing can be spent."""
        return _boundary(self, level)

    def stops(self, level: float, look: int, t: float) -> bool:
        """Whether the test rejects its hypothesis at a look (an index) with this statistic."""
        return t >= self.boundary(level)[look]

    def degrees(self, look: int) -> int:
        """The degrees of freedom of the statistic at a look."""
        return self.looks[look] - 1 + self.within * self.looks[look]

    def p_value(self, level: float, look: int, t: float) -> float:
        """The p-value of a test of a level that ended at a look with t, by the order of stages.

        P(rejected at an earlier look, or not and t_k ≥ t). (Fairbanks & Madsen 1982)
        """
        if look == 0:
            return float(stdtr(self.degrees(0), -t))
        null = _simulate(self, SHIFTS, DRAWS)
        earlier = np.zeros(len(null.weight), bool)
        for k in range(look):
            earlier |= null.t[k] >= self.boundary(level)[k]
        later = ~earlier & (null.t[look] >= t)
        return float(min(1.0, null.weight[earlier].sum() + null.weight[later].sum()))

    def margins(
        self, level: float, levels: tuple[float, float], look: int, t: float
    ) -> tuple[float, float]:
        """How far, in standard errors, the ends of an interval lie below and above the mean.

        The interval of coverage 1 − level, of a mean whose tests for larger and smaller values have
        the given levels and ended at a look with t, inverts the order of stages: at its lower end
        P(as large or larger) = level/2, at its upper end P(as small or smaller) = level/2. At the
        first look it is Student's.
        """
        if look == 0:
            half = float(stdtrit(self.degrees(0), 1 - level / 2))
            return half, half
        root = math.sqrt(self.looks[look])
        low = self._shift(lambda shift: self._above(shift, levels, look, t), level / 2)
        high = self._shift(lambda shift: self._above(shift, levels, look, t), 1 - level / 2)
        return t - low * root, high * root - t

    def _shift(self, above: Callable[[float], float], wanted: float) -> float:
        """The mean, in standard deviations of a seed set, at which a rising probability is met."""
        low, high = -1.0, 1.0
        while above(low) > wanted:
            low *= 2
        while above(high) < wanted:
            high *= 2
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle) < wanted else (low, middle)
        return (low + high) / 2

    def _above(self, shift: float, levels: tuple[float, float], look: int, t: float) -> float:
        """P(an outcome as large or larger) if the mean is `shift` standard deviations of a set.

        These are the estimated ones, so that without earlier looks it is Student's.
        """
        null = _simulate(self, (0.0,), DRAWS // 8)
        going, found = np.ones(len(null.weight), bool), 0.0
        for k in range(look + 1):
            now = null.t[k] + shift * math.sqrt(self.looks[k])
            if k == look:
                return found + float((going & (now >= t)).mean())
            high, low = (self.boundary(each)[k] for each in levels)
            found += float((going & (now >= high)).mean())
            going &= (now < high) & (now > -low)
        raise AssertionError


class _Simulated(NamedTuple):
    """Simulated sequences without a difference: the statistic at each look, [K] of [N].

    weight: [N], summing to about 1; not equal if differences were drawn with means other than 0.
    """

    t: list[Array]
    weight: Array


@cache
def _simulate(test: Sequential, shifts: tuple[float, ...], draws: int) -> _Simulated:
    rng, most = np.random.default_rng(0), test.looks[-1]
    mean = np.repeat(shifts, draws // len(shifts))[:, None]
    x = mean + rng.standard_normal((len(mean), most))
    within = np.zeros(len(mean))
    t, before = [], 0
    for n in test.looks:
        between = x[:, :n].var(axis=1) * n
        if test.within:
            within = within + rng.chisquare(test.within * (n - before), len(mean))
        spread = np.sqrt((between + within) / (n - 1 + test.within * n))
        t.append(x[:, :n].sum(axis=1) / np.sqrt(n) / spread)
        before = n
    # the density of mean 0 over that of the mixture of all shifts; bounded by their number
    total = x.sum(axis=1)
    ratios = [np.exp(shift * total - most * shift**2 / 2) for shift in shifts]
    return _Simulated(t, 1 / np.mean(ratios, axis=0) / len(mean))


@cache
def _boundary(test: Sequential, level: float) -> tuple[float, ...]:
    null, found, spent = _simulate(test, SHIFTS, DRAWS), [], 0.0
    going = np.ones(len(null.weight), bool)
    for k, n in enumerate(test.looks):
        share = spending(level, n / test.looks[-1])
        if k == 0:
            bound = float(stdtrit(test.degrees(0), 1 - share)) if share < 1 else -math.inf
            spent, going = share, null.t[0] < bound
            found.append(bound)
            continue
        t, weight = null.t[k][going], null.weight[going]
        order = np.argsort(-t)
        above = np.cumsum(weight[order])
        last = int(np.searchsorted(above, share - spent)) - 1
        bound = float(t[order[last]]) if last >= 0 else math.inf
        spent += float(above[last]) if last >= 0 else 0.0
        found.append(bound)
        going &= null.t[k] < bound
    return tuple(found)
