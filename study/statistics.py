"""Paired comparisons over seed sets, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from degradations.errors import Refused

Verdict = Literal["improves", "blends", "no gain", "undecided"]
LEAST = 0.05  # a gain smaller than this share of the damage counts as none


@dataclass(frozen=True)
class Comparison:
    """FD at a weight, paired over seed sets with FD at weight 1 and of the base.

    recovered: mean(d)/mean(c), d = FD(1) − FD(w), c = FD(1) − FD(base), or None where mean(c) is not positive at 95 %;
    recovered_ci: its interval at 95 %; gain, gain_low, gain_high: mean(d) and its one-sided bounds at 95 %.
    """

    verdict: Verdict
    recovered: float | None
    recovered_ci: tuple[float, float] | None
    gain: float
    gain_low: float
    gain_high: float


def compare(weight: float, base: Sequence[float], main: Sequence[float], guided: Sequence[float]) -> Comparison:
    """Compare FD(w) with FD(1) and FD(base) over R ≥ 2 seed sets, each sequence of length R in the same order.

    *improves* (w > 1) or *blends* (w < 1) if mean(d) − t₀.₉₅,R₋₁·sd(d)/√R > 0.05·mean(c); *no gain* if
    mean(d) + t₀.₉₅,R₋₁·sd(d)/√R < 0.05·mean(c); otherwise *undecided*. The interval of recovered is
    ± t₀.₉₇₅,R₋₁·sd(d − recovered·c)/(√R·mean(c)) (delta method). Where mean(c) ≤ 0 nothing
    was damaged, and the bounds are compared with 0. Raises Refused for fewer than two seed sets or unequal lengths.
    """
    if not len(base) == len(main) == len(guided) >= 2:
        raise Refused(f"at least 2 paired seed sets are wanted, found {len(base)}, {len(main)} and {len(guided)}.")
    r = len(base)
    d, c = np.subtract(main, guided), np.subtract(main, base)
    root, t95, t975 = math.sqrt(r), float(stats.t.ppf(0.95, r - 1)), float(stats.t.ppf(0.975, r - 1))
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
