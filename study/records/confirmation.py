"""The confirmation of one weight: FD there, at weight 1 and of the base, over paired seed sets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from degradations.errors import InputError
from study.records.sequential import Sequential

Array = npt.NDArray[np.float64]
LEAST = 0.05  # a gain smaller than this share of the damage counts as none
NONE = 0.05  # level of the test that shows no gain


@dataclass(frozen=True)
class Sets:
    """A Fréchet distance, or a linear combination of several, over R seed sets.

    values: [R]; replicates: [R, G], without each of the G groups of a set's samples, or [R, 0].
    Sets of equal seeds are paired: common noise cancels in their difference.
    """

    values: Array
    replicates: Array

    @classmethod
    def of(cls, values: Sequence[float], replicates: Sequence[Sequence[float]] = ()) -> "Sets":
        """Sets of plain numbers; without replicates, or with those of only some sets, G = 0."""
        lengths = {len(each) for each in replicates}
        whole = len(replicates) == len(values) and len(lengths) == 1 and min(lengths) > 1
        kept = np.asarray(replicates, float) if whole else np.empty((len(values), 0))
        return cls(np.asarray(values, float), kept)

    def __len__(self) -> int:
        return len(self.values)

    def __sub__(self, other: "Sets") -> "Sets":
        g = min(self.replicates.shape[1], other.replicates.shape[1])
        values = self.values - other.values
        return Sets(values, self.replicates[:, :g] - other.replicates[:, :g])

    def times(self, factor: float) -> "Sets":
        return Sets(factor * self.values, factor * self.replicates)

    def first(self, n: int) -> "Sets":
        return Sets(self.values[:n], self.replicates[:n])

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def limit(self) -> float | None:
        """The mean of FD∞, without the bias of a finite number of samples; None without replicates.

        G·v − (G − 1)·v̄, the jackknife's correction, which removes a bias of the form b/n.
        (Quenouille 1956)
        """
        g = self.replicates.shape[1]
        return float((g * self.values - (g - 1) * self.replicates.mean(1)).mean()) if g else None

    @property
    def within(self) -> int:
        """The degrees of freedom of the variance within each set: G − 1, or 0."""
        return max(self.replicates.shape[1] - 1, 0)

    @property
    def error(self) -> float:
        """The standard error of the mean, with `within`·R + R − 1 degrees of freedom.

        Pooled are the variance between sets and the jackknife's within each, (G − 1)/G·Σ(v_g − v̄)²,
        which estimate the same: the sets differ in their samples alone.
        """
        r, g = len(self.values), self.replicates.shape[1]
        between = float(((self.values - self.mean) ** 2).sum())
        within = 0.0
        if self.within:
            within = (g - 1) * float(((g - 1) * self.replicates.var(axis=1)).sum())
        variance = (between + within) / (r - 1 + self.within * r)
        return math.sqrt(variance / r)


@dataclass(frozen=True)
class Comparison:
    """FD at a weight compared with FD at weight 1 and of the base, at the look where it ended.

    sets: seed sets used; ended: whether more would change nothing; gain: mean of FD(1) − FD(w);
    damage: mean of FD(1) − FD(base); t: of the gain less 5 % of the damage; look: index of the
    look; p: that the gain is no larger than that; none: whether it is shown to be smaller.
    """

    design: Sequential
    level: float
    sets: int
    look: int
    ended: bool
    gain: float
    damage: float
    t: float
    p: float
    none: bool
    gain_error: float
    recovered: float | None
    recovered_error: float

    def recovered_ci(self, coverage: float = 0.95) -> tuple[float, float] | None:
        """The interval of recovered, mean(d)/mean(c), by the delta method; None without damage."""
        if self.recovered is None:
            return None
        return self.interval(self.recovered, self.recovered_error, coverage)

    def gain_ci(self, coverage: float = 0.95) -> tuple[float, float]:
        """The interval of the gain."""
        return self.interval(self.gain, self.gain_error, coverage)

    def interval(self, value: float, error: float, coverage: float = 0.95) -> tuple[float, float]:
        """The interval of a value of the same seed sets, which takes the looks into account."""
        below, above = self._margins(coverage)
        return value - below * error, value + above * error

    def _margins(self, coverage: float) -> tuple[float, float]:
        if not math.isfinite(self.t):
            return 0.0, 0.0
        return self.design.margins(1 - coverage, (self.level, NONE), self.look, self.t)


def compare(
    base: Sets, main: Sets, guided: Sets, looks: Sequence[int], level: float = 0.05
) -> Comparison:
    """Compare FD(w) with FD(1) and FD(base) over paired seed sets, at looks after so many of them.

    d = FD(1) − FD(w), c = FD(1) − FD(base). At each look two group-sequential tests may end it: of
    mean(d) ≤ 0.05·mean(c) at `level`, and of mean(d) ≥ 0.05·mean(c) at 5 %. Where mean(c) ≤ 0
    nothing was damaged, and mean(d) is compared with 0. recovered = mean(d)/mean(c), None unless
    mean(c) is positive at 95 %. With fewer sets than the next look needs it has not ended. Raises
    InputError for fewer sets than the first look needs, and for unequal numbers of sets.
    """
    if not len(base) == len(main) == len(guided) >= looks[0]:
        raise InputError(
            f"seed sets: found {len(base)}, {len(main)} and {len(guided)}; at least {looks[0]} "
            "paired ones are needed, as many of each."
        )
    within = (main - guided - base).within
    design, none = Sequential(tuple(looks), within), False
    reached = [n for n in looks if n <= len(base)]
    for look, n in enumerate(reached):
        d, c = (main - guided).first(n), (main - base).first(n)
        least = LEAST if c.mean > 0 else 0.0
        t = _ratio(d - c.times(least))
        found, none = design.stops(level, look, t), design.stops(NONE, look, -t)
        if found or none:
            break
    ended = found or none or n == looks[-1]
    recovered, recovered_error = share(d, c) or (None, math.nan)
    p = design.p_value(level, look, t)
    error = d.error
    return Comparison(
        design, level, n, look, ended, d.mean, c.mean, t, p, none, error, recovered, recovered_error
    )


def share(d: Sets, c: Sets) -> tuple[float, float] | None:
    """mean(d)/mean(c) over paired seed sets, and its standard error by the delta method.

    None unless mean(c) is positive at 95 %.
    """
    if _ratio(c) <= stdtrit(len(c) - 1 + c.within * len(c), 0.95):
        return None
    value = d.mean / c.mean
    return value, (d - c.times(value)).error / c.mean


def _ratio(x: Sets) -> float:
    """The t-statistic of a mean; infinite, or 0, if nothing varies."""
    if x.error == 0:
        return math.copysign(math.inf, x.mean) if x.mean else 0.0
    return x.mean / x.error
