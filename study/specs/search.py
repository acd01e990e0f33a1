"""How pairings are found, searched and confirmed."""

import math
from dataclasses import dataclass, field
from typing import Literal

from study.specs.checks import MOST_SAMPLES, MOST_TRIALS, require, require_between

CONSTANT = "constant"  # the rule with the same weight at every noise level
MOST_BUDGET = 1_000_000_000
MOST_SEED_SETS = 1000  # an interval narrows with their square root
BESIDE = 0.1  # distance from 1 of the weights beside it
BY_MODEL = ("gp", "tpe", "cmaes")  # methods that are samplers of Optuna
LOOKS = (4, 6, 8, 12, 16, 24, 32)  # numbers of seed sets after which a confirmation may stop


@dataclass(frozen=True)
class PairingSpec:
    """An ordered pair of degradations of the base.

    Args:
        main: the degradation of the main, such as dropout(0.2)
        guide: the degradation of the guide, such as dropout(0.4)
        coupling: whether main and guide draw independently or share their draws
        rule: how their estimates are combined at a weight, such as interval(0.3, 5)
    """

    main: str
    guide: str
    coupling: Literal["independent", "shared"] = "independent"
    rule: str = CONSTANT

    def __post_init__(self) -> None:
        require(
            self.coupling in ("independent", "shared"),
            "coupling",
            self.coupling,
            "independent or shared",
        )

    @property
    def name(self) -> str:
        rule = "" if self.rule == CONSTANT else f", {self.rule}"
        return f"{self.main} → {self.guide}, {self.coupling}{rule}"


@dataclass(frozen=True)
class SearchSpec:
    """The search for the weight of each pairing.

    Args:
        method: probe (the endpoint probe's weight, its neighbours, then the minimum of a
            parabola), grid (every weight), or a design, then a sampler of Optuna: gp (a Gaussian
            process), tpe or cmaes
        weight: lowest and highest guidance weight
        step: weights are multiples of this, counted from the lowest
        samples: samples per evaluation, at most 10,000,000
        trials: evaluations per pairing, at most; 10,000 at most
        design: weights that gp, tpe and cmaes evaluate first
        tolerance: stop where the interval of the best weight is narrower than this
        budget: network evaluations per sample (NFE) that the search of a pairing may take,
            including those of the guide and the probe; at most 1,000,000,000
        prune: end an evaluation after one or two thirds of its samples, in whole chunks, if it is
            worse there than the best so far, beyond the noise (all methods but grid)
        screen: do not search a pairing whose probe predicts 1 and whose FD rises on both sides of 1
        interval: noise levels between which the ends of a guidance interval are searched too (gp,
            tpe, cmaes)
        strength: range of the guide's strength, searched too (gp, tpe, cmaes)
        guides: other guides to choose from, searched too (gp, tpe, cmaes), such as
            digits@snapshot=1024
        over: ranges of numbers of rules and guides, searched too (gp, tpe, cmaes), by where they
            stand, such as {rule.apg.eta: [0, 1], guide.dropout.strength: [0.1, 0.4]}
    """

    method: Literal["probe", "gp", "tpe", "cmaes", "grid"] = "probe"
    weight: tuple[float, float] = (0.5, 3.5)
    step: float = 0.05
    samples: int = 50000
    trials: int = 6
    design: tuple[float, ...] = (1.0, 1.1, 0.9, 1.5, 2.25)
    tolerance: float | None = None
    budget: int | None = None
    prune: bool = False
    screen: bool = True
    interval: tuple[float, float] | None = None
    strength: tuple[float, float] | None = None
    guides: tuple[str, ...] = ()
    over: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        low, high = self.weight
        require(
            -math.inf < low < high < math.inf,
            "search.weight",
            self.weight,
            "two finite numbers, the lower one first",
        )
        require(
            0 < self.step <= high - low,
            "search.step",
            self.step,
            f"a number above 0 and at most {high - low:g}",
        )
        require(
            (high - low) / self.step <= 10_000,
            "search.step",
            self.step,
            "at most 10000 steps in the range of weights",
        )
        require_between(self.samples, "search.samples", 2, MOST_SAMPLES)
        require_between(self.trials, "search.trials", 1, MOST_TRIALS)
        for weight in self.design if self.method in BY_MODEL else ():
            require(
                low <= weight <= high, "search.design", weight, f"weights from {low:g} to {high:g}"
            )
        require(
            self.method != "probe" or 1.0 in self.weights,
            "search.weight",
            self.weight,
            f"a range with 1 among its steps of {self.step:g}, where the method 'probe' starts",
        )
        self._check_ends()
        for key in ("interval", "strength"):
            ends = getattr(self, key)
            require(
                ends is None or 0 < ends[0] < ends[1] < math.inf,
                f"search.{key}",
                ends,
                "two numbers above 0, the lower one first",
            )
        for key, ends in self.over.items():
            require(
                all(map(math.isfinite, ends)) and ends[0] < ends[1],
                f"search.over.{key}",
                ends,
                "two finite numbers, the lower one first",
            )
        for key in self.more:
            require(
                self.method in BY_MODEL,
                f"search.{key}",
                getattr(self, key),
                f"nothing with the method '{self.method}'; only gp, tpe and cmaes search more than "
                "the weight",
            )
        require(
            self.method != "cmaes" or bool(self.interval or self.strength or self.over),
            "search.method",
            self.method,
            "gp or tpe, as cmaes needs another number beside the weight, such as search.over",
        )
        require(
            len(set(self.guides)) == len(self.guides), "search.guides", self.guides, "each one once"
        )
        of_guides = [key for key in self.over if key.startswith("guide.")]
        require(
            not (of_guides and (self.strength or self.guides)),
            "search.over",
            of_guides,
            "nothing of the guide together with search.strength or search.guides",
        )
        require(
            not (self.strength and self.guides),
            "search.guides",
            self.guides,
            "nothing together with search.strength, the strength of the pairing's own guide",
        )

    def _check_ends(self) -> None:
        width = self.weight[1] - self.weight[0]
        for key in ("tolerance", "budget"):
            require(
                self.method != "grid" or getattr(self, key) is None,
                f"search.{key}",
                getattr(self, key),
                "nothing with the method 'grid', which evaluates every weight",
            )
        require(
            (self.budget or 0) <= MOST_BUDGET,
            "search.budget",
            self.budget,
            f"at most {MOST_BUDGET:,}",
        )
        require(
            self.tolerance is None or self.method == "probe",
            "search.tolerance",
            self.tolerance,
            f"nothing with the method '{self.method}', which has no interval of the best weight",
        )
        require(
            self.tolerance is None or self.step <= self.tolerance < width,
            "search.tolerance",
            self.tolerance,
            f"at least search.step, {self.step:g}, and below {width:g}, the range of weights",
        )

    @property
    def weights(self) -> list[float]:
        """All weights that a search may try."""
        low, high = self.weight
        return [
            round(low + i * self.step, 9) for i in range(int((high - low) / self.step + 1e-9) + 1)
        ]

    @property
    def beside(self) -> list[float]:
        """The weights above and below 1, as far as the range has them: 1.1, 0.9."""
        distance, (low, high) = max(BESIDE, self.step), (self.weights[0], self.weights[-1])
        sides = (1 + distance, 1 - distance)
        return [self.snap(each) for each in sides if low - 1e-9 <= each <= high + 1e-9]

    def snap(self, weight: float) -> float:
        """The nearest weight that the search may try."""
        return min(self.weights, key=lambda each: abs(each - weight))

    @property
    def more(self) -> list[str]:
        """The keys of what is searched in addition to the weight."""
        return [key for key in ("interval", "strength", "guides", "over") if getattr(self, key)]


@dataclass(frozen=True)
class ConfirmSpec:
    """The confirmation of the best weight on fresh seeds, paired with weight 1 and with the base.

    Args:
        samples: samples per seed set, at most 10,000,000
        seed_sets: number of seed sets at most, 2 to 1000
        controls: also score the base and each main at twice the steps, and each main at its best
            rescaling, of its score or of the noise level it is told
        sequential: look at the result after 4, 6, 8, … seed sets, and stop a pairing when its
            verdict is decided, with error rates that hold under such looking
        reference_error: also score against the reference without every tenth of its samples, for
            the variance that it causes
    """

    samples: int = 50000
    seed_sets: int = 8
    controls: bool = True
    sequential: bool = True
    reference_error: bool = False

    def __post_init__(self) -> None:
        require_between(self.samples, "confirm.samples", 2, MOST_SAMPLES)
        require_between(
            self.seed_sets, "confirm.seed_sets", 2, MOST_SEED_SETS, ", for an interval,"
        )

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seed sets after which the confirmation of a pairing may stop."""
        earlier = [n for n in LOOKS if n < self.seed_sets] if self.sequential else []
        return (*earlier, self.seed_sets)
