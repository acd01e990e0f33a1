"""How a map of kinds is made: strengths of equal damage, every pair of kinds, and probes."""

import math
from dataclasses import dataclass
from typing import Literal

from study.specs.checks import MOST_TRIALS, require, require_between

DAMAGES = ("fd", "fd-infinity", "recall", "trajectory-error")
PROBE_LIMITS = {
    "images": (2, 100_000),
    "levels": (2, 1000),
    "draws": (2, 10_000),
    "resamples": (100, 100_000),
}


@dataclass(frozen=True)
class CalibrateSpec:
    """The strengths at which kinds of degradation do equal damage.

    Args:
        kinds: names of kinds; none: all that the base supports
        levels: of damage, multiples of the base's FD unless `by` says otherwise, rising; the first
            for mains, the second for guides
        tolerance: relative difference from the level that is accepted
        trials: strengths tried per kind, at most; 2 to 10,000
        by: the damage that is made equal: fd or fd-infinity (without the bias of few samples) or
            recall (the share of data not covered), each as a multiple of the base's; or
            trajectory-error, the mean error along the base's trajectories, in the data's units
        seed_sets: seed sets over which it is averaged, 1 to 100; the first is the search's
    """

    kinds: tuple[str, ...] = ()
    levels: tuple[float, ...] = (1.5, 3.0)
    tolerance: float = 0.05
    trials: int = 30
    by: Literal["fd", "fd-infinity", "recall", "trajectory-error"] = "fd"
    seed_sets: int = 1

    def __post_init__(self) -> None:
        require(self.by in DAMAGES, "calibrate.by", self.by, ", ".join(DAMAGES))
        require_between(self.seed_sets, "calibrate.seed_sets", 1, 100)
        least = 0 if self.by == "trajectory-error" else 1
        rising = (
            all(least < level < math.inf for level in self.levels)
            and tuple(sorted(set(self.levels))) == self.levels
        )
        require(
            len(self.levels) >= 1 and rising,
            "calibrate.levels",
            self.levels,
            f"numbers above {least}, rising",
        )
        require(
            len(set(self.kinds)) == len(self.kinds), "calibrate.kinds", self.kinds, "each one once"
        )
        require(
            0 < self.tolerance < 1,
            "calibrate.tolerance",
            self.tolerance,
            "a number between 0 and 1",
        )
        require_between(self.trials, "calibrate.trials", 2, MOST_TRIALS)


@dataclass(frozen=True)
class MatrixSpec:
    """Every ordered pair of calibrated kinds as a pairing: level 1 as main, level 2 as guide.

    Args:
        coupling: of all its pairings
        clean: also use the base itself as a main
        tested: kinds whose pairings with one another are always searched, without screening
    """

    coupling: Literal["independent", "shared"] = "shared"
    clean: bool = False
    tested: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbeSpec:
    """The settings of the probes.

    Args:
        images: samples over which errors and losses are averaged, at most 100,000
        levels: noise levels, at most 1000
        draws: evaluations of a stochastic denoiser at each level, at most 10,000
        resamples: bootstrap samples behind an interval, 100 to 100,000
    """

    images: int = 256
    levels: int = 16
    draws: int = 32
    resamples: int = 1000

    def __post_init__(self) -> None:
        for key, limits in PROBE_LIMITS.items():
            require_between(getattr(self, key), f"probe.{key}", *limits)
