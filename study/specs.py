"""What a study is: plain dataclasses, the shape of a config. No heavy import.

Each checks its values when it is made and raises Refused, naming the key, what was found and what is accepted.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from degradations.errors import Refused


def _want(good: bool, key: str, found: object, wanted: str) -> None:
    if not good:
        raise Refused(f"{key}: found {found!r}, wanted {wanted}.")


@dataclass(frozen=True)
class NetworkSpec:
    """A residual MLP, or a transformer on the patches of an image.

    Args:
        width: features between the blocks
        hidden: features within a block
        blocks: number of residual blocks, each with a dropout site
        embedding: features of the embedding of noise level and label
        kind: mlp or transformer
        heads: attention heads, among which the width is divided (transformer only)
        patch: side of a patch in pixels (transformer only)
    """

    width: int = 64
    hidden: int = 192
    blocks: int = 8
    embedding: int = 32
    kind: Literal["mlp", "transformer"] = "mlp"
    heads: int = 4
    patch: int = 2

    def __post_init__(self) -> None:
        _want(self.kind in ("mlp", "transformer"), "network.kind", self.kind, "mlp or transformer")
        sizes = {"width": 4096, "hidden": 16384, "blocks": 256, "embedding": 4096, "heads": 256, "patch": 256}
        for key, most in sizes.items():
            value = getattr(self, key)
            _want(
                isinstance(value, int) and 1 <= value <= most, f"network.{key}", value, f"an integer from 1 to {most}"
            )
        _want(self.kind == "mlp" or self.width % self.heads == 0, "network.width", self.width,
              f"a multiple of network.heads, {self.heads}")  # fmt: skip


@dataclass(frozen=True)
class RecipeSpec:
    """How a base is trained (EDM loss; Karras et al. 2022, table 1).

    Args:
        data: data set to train on: digits or fractal
        network: size of the network
        steps: optimizer steps
        batch: samples a step
        lr: Adam's peak learning rate; constant for the first half, a cosine to zero in the second
        beta2: Adam's second moment decay
        p_mean: mean of ln sigma in training
        p_std: standard deviation of ln sigma in training
        sigma_data: standard deviation of the data
        ema: relative width of the power-function EMA profile, in (0, 0.28)
        seed: of initial weights and batches
        samples: share of the data trained on, in (0, 1]; the rest is held out
    """

    data: str = "digits"
    network: NetworkSpec = field(default_factory=NetworkSpec)
    steps: int = 10000
    batch: int = 256
    lr: float = 1.5e-3
    beta2: float = 0.99
    p_mean: float = -0.6
    p_std: float = 1.3
    sigma_data: float = 0.75
    ema: float = 0.05
    seed: int = 0
    samples: float = 1.0

    def __post_init__(self) -> None:
        _want(self.steps >= 1, "recipe.steps", self.steps, "at least 1")
        _want(self.batch >= 1, "recipe.batch", self.batch, "at least 1")
        _want(0 < self.lr < math.inf, "recipe.lr", self.lr, "a number above 0")
        _want(0 < self.beta2 < 1, "recipe.beta2", self.beta2, "a number between 0 and 1")
        _want(math.isfinite(self.p_mean), "recipe.p_mean", self.p_mean, "a finite number")
        _want(0 < self.p_std < math.inf, "recipe.p_std", self.p_std, "a number above 0")
        _want(0 < self.sigma_data < math.inf, "recipe.sigma_data", self.sigma_data, "a number above 0")
        _want(0 < self.ema < 0.28, "recipe.ema", self.ema, "a relative width between 0 and 0.28")
        _want(0 <= self.seed < 2**31, "recipe.seed", self.seed, "an integer from 0 to 2³¹ − 1")
        _want(0 < self.samples <= 1, "recipe.samples", self.samples, "a share above 0 and at most 1")


@dataclass(frozen=True)
class SamplerSpec:
    """How samples are drawn (Karras et al. 2022, algorithm 2).

    Args:
        solver: euler or heun
        steps: noise levels visited
        sigma_min: last noise level before zero
        sigma_max: first noise level
        rho: exponent of the grid
        churn: amount of fresh noise (S_churn), 0 for the deterministic sampler
        churn_min: lowest noise level with churn (S_tmin)
        churn_max: highest noise level with churn (S_tmax)
        churn_noise: scale of the fresh noise (S_noise)
        labels: stratified (the data's exact proportions) or edm2 (drawn per sample, after its noise)
        chunk: samples computed together; part of what determines the random numbers
    """

    solver: Literal["euler", "heun"] = "heun"
    steps: int = 32
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = math.inf
    churn_noise: float = 1.0
    labels: Literal["stratified", "edm2"] = "stratified"
    chunk: int = 600

    def __post_init__(self) -> None:
        _want(2 <= self.steps <= 10_000, "sampler.steps", self.steps, "an integer from 2 to 10000")
        _want(0 < self.sigma_min < self.sigma_max < math.inf, "sampler.sigma_min, sampler.sigma_max",
              (self.sigma_min, self.sigma_max), "0 < sigma_min < sigma_max")  # fmt: skip
        _want(0 < self.rho < math.inf, "sampler.rho", self.rho, "a number above 0")
        _want(self.chunk >= 1, "sampler.chunk", self.chunk, "at least 1")
        _want(0 <= self.churn < math.inf, "sampler.churn", self.churn, "a number of at least 0")
        _want(0 <= self.churn_min <= self.churn_max, "sampler.churn_min, sampler.churn_max",
              (self.churn_min, self.churn_max), "0 ≤ churn_min ≤ churn_max")  # fmt: skip
        _want(0 <= self.churn_noise < math.inf, "sampler.churn_noise", self.churn_noise, "a number of at least 0")


@dataclass(frozen=True)
class PairingSpec:
    """An ordered pair of degradations of the base.

    Args:
        main: the degradation of the main, such as dropout(0.2)
        guide: the degradation of the guide, such as dropout(0.4)
        coupling: whether main and guide draw independently or share their draws
    """

    main: str
    guide: str
    coupling: Literal["independent", "shared"] = "independent"

    def __post_init__(self) -> None:
        _want(self.coupling in ("independent", "shared"), "coupling", self.coupling, "independent or shared")

    @property
    def name(self) -> str:
        return f"{self.main} → {self.guide}, {self.coupling}"


@dataclass(frozen=True)
class SearchSpec:
    """The search for the weight of each pairing.

    Args:
        method: probe (the endpoint probe's weight, its neighbours, then where a parabola has its least), gp (a design,
            then a Gaussian process) or grid (every weight)
        weight: lowest and highest guidance weight
        step: weights are multiples of this, counted from the lowest
        samples: samples an evaluation
        trials: evaluations a pairing, at most
        design: weights that gp evaluates first
        tolerance: stop where the interval of the best weight is narrower than this
        budget: network evaluations a sample that the search of a pairing may take, main, guide and probe counted
        screen: do not search a pairing whose probe says 1 and whose FD rises from w = 1 to 1.1
        interval: noise levels between which the ends of a guidance interval are searched too (gp)
        strength: range of the guide's strength, searched too (gp)
        guides: other guides to choose from, searched too (gp), such as digits@snapshot=1024
    """

    method: Literal["probe", "gp", "grid"] = "probe"
    weight: tuple[float, float] = (1.0, 3.5)
    step: float = 0.05
    samples: int = 1797
    trials: int = 6
    design: tuple[float, ...] = (1.0, 1.5, 2.0, 2.5)
    tolerance: float | None = None
    budget: int | None = None
    screen: bool = True
    interval: tuple[float, float] | None = None
    strength: tuple[float, float] | None = None
    guides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.weight
        _want(
            -math.inf < low < high < math.inf, "search.weight", self.weight, "two finite numbers, the lower one first"
        )
        _want(0 < self.step <= high - low, "search.step", self.step, f"a number above 0 and at most {high - low:g}")
        _want(
            (high - low) / self.step <= 10_000, "search.step", self.step, "at most 10000 steps in the range of weights"
        )
        _want(self.samples >= 2, "search.samples", self.samples, "at least 2")
        _want(self.trials >= 1, "search.trials", self.trials, "at least 1")
        for weight in self.design if self.method == "gp" else ():
            _want(low <= weight <= high, "search.design", weight, f"weights from {low:g} to {high:g}")
        _want(self.method != "probe" or 1.0 in self.weights, "search.weight", self.weight,
              f"a range that holds 1 in steps of {self.step:g}, where the method 'probe' begins")  # fmt: skip
        self._check_ends()
        for key in ("interval", "strength"):
            ends = getattr(self, key)
            _want(ends is None or 0 < ends[0] < ends[1] < math.inf, f"search.{key}", ends,
                  "two numbers above 0, the lower one first")  # fmt: skip
        for key in self.over:
            _want(self.method == "gp", f"search.{key}", getattr(self, key),
                  f"nothing with the method '{self.method}': only gp searches more than the weight")  # fmt: skip
        _want(not (self.strength and self.guides), "search.guides", self.guides,
              "nothing beside search.strength, the strength of the pairing's own guide")  # fmt: skip

    def _check_ends(self) -> None:
        width = self.weight[1] - self.weight[0]
        for key in ("tolerance", "budget"):
            _want(self.method != "grid" or getattr(self, key) is None, f"search.{key}", getattr(self, key),
                  "nothing with the method 'grid', which evaluates every weight")  # fmt: skip
        _want(self.tolerance is None or self.method == "probe", "search.tolerance", self.tolerance,
              "nothing with the method 'gp', which has no interval of the best weight")  # fmt: skip
        _want(self.tolerance is None or self.step <= self.tolerance < width, "search.tolerance", self.tolerance,
              f"at least search.step, {self.step:g}, and below {width:g}, the range of weights")  # fmt: skip

    @property
    def weights(self) -> list[float]:
        """All weights that a search may try."""
        low, high = self.weight
        return [round(low + i * self.step, 9) for i in range(int((high - low) / self.step + 1e-9) + 1)]

    def snap(self, weight: float) -> float:
        """The nearest weight that the search may try."""
        return min(self.weights, key=lambda each: abs(each - weight))

    @property
    def over(self) -> list[str]:
        """What the search is over beside the weight."""
        return [key for key in ("interval", "strength", "guides") if getattr(self, key)]


@dataclass(frozen=True)
class ConfirmSpec:
    """The confirmation of the leader on fresh seeds, paired with weight 1 and with the base.

    Args:
        samples: samples a seed set
        seed_sets: number of seed sets
        controls: also score the base and each main at twice the steps
    """

    samples: int = 1797
    seed_sets: int = 6
    controls: bool = True

    def __post_init__(self) -> None:
        _want(self.samples >= 2, "confirm.samples", self.samples, "at least 2")
        _want(self.seed_sets >= 2, "confirm.seed_sets", self.seed_sets, "at least 2, for an interval")


@dataclass(frozen=True)
class CalibrateSpec:
    """The strengths at which kinds of degradation do equal damage.

    Args:
        kinds: names of kinds; none: all that the base can suffer
        levels: multiples of the base's FD that FD reaches, rising; the first for mains, the second for guides
        tolerance: relative difference from the level that is accepted
        trials: evaluations a kind, at most
    """

    kinds: tuple[str, ...] = ()
    levels: tuple[float, ...] = (1.5, 3.0)
    tolerance: float = 0.05
    trials: int = 30

    def __post_init__(self) -> None:
        rising = all(1 < level < math.inf for level in self.levels) and tuple(sorted(set(self.levels))) == self.levels
        _want(len(self.levels) >= 1 and rising, "calibrate.levels", self.levels, "numbers above 1, rising")
        _want(len(set(self.kinds)) == len(self.kinds), "calibrate.kinds", self.kinds, "each one once")
        _want(0 < self.tolerance < 1, "calibrate.tolerance", self.tolerance, "a number between 0 and 1")
        _want(self.trials >= 2, "calibrate.trials", self.trials, "at least 2")


@dataclass(frozen=True)
class MatrixSpec:
    """Every ordered pair of calibrated kinds as a pairing: level 1 as main, level 2 as guide.

    Args:
        coupling: of all its pairings
        clean: also the base itself as main
        tested: kinds whose pairings with one another are searched whatever the screening says
    """

    coupling: Literal["independent", "shared"] = "shared"
    clean: bool = False
    tested: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbeSpec:
    """The probes.

    Args:
        images: data that mean errors and losses are taken on
        levels: noise levels
        draws: evaluations of a random denoiser at each
        resamples: bootstrap samples behind an interval
    """

    images: int = 256
    levels: int = 16
    draws: int = 32
    resamples: int = 1000

    def __post_init__(self) -> None:
        for key, least in (("images", 2), ("levels", 2), ("draws", 2), ("resamples", 100)):
            _want(getattr(self, key) >= least, f"probe.{key}", getattr(self, key), f"at least {least}")


@dataclass(frozen=True)
class StudySpec:
    """A degradation study: one base, pairings of its degradations, and how they are searched and confirmed.

    Args:
        name: of the study; its results are kept under this name
        base: a card's name (digits), a folder with weights and card, exact (the data's closed form), or null: trained
            by the recipe
        recipe: how the base is trained where it is
        reference: data set that samples are compared with
        extractors: feature extractors, the first for the primary metric
        sampler: how samples are drawn
        pairings: main and guide of each pairing
        search: how the weight is searched
        confirm: how it is confirmed
        calibrate: how equally damaging strengths are found
        matrix: where given, the pairings are those of all calibrated kinds
        probe: how the probes look
        seed: of the search; the confirmation uses those after it
    """

    name: str
    base: str | None = None
    recipe: RecipeSpec = field(default_factory=RecipeSpec)
    reference: str = "digits"
    extractors: tuple[str, ...] = ("pixels",)
    sampler: SamplerSpec = field(default_factory=SamplerSpec)
    pairings: tuple[PairingSpec, ...] = ()
    search: SearchSpec = field(default_factory=SearchSpec)
    confirm: ConfirmSpec = field(default_factory=ConfirmSpec)
    calibrate: CalibrateSpec = field(default_factory=CalibrateSpec)
    matrix: MatrixSpec | None = None
    probe: ProbeSpec = field(default_factory=ProbeSpec)
    seed: int = 0

    def __post_init__(self) -> None:
        _want(bool(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", self.name)), "name", self.name,
              "letters, digits, '.', '_' and '-', beginning with a letter or digit")  # fmt: skip
        _want(self.base is not None or self.recipe.data == self.reference, "recipe.data", self.recipe.data,
              f"{self.reference}, the reference, since the base is trained by the recipe")  # fmt: skip
        _want(len(self.extractors) > 0, "extractors", self.extractors, "at least one")
        _want(len(set(self.extractors)) == len(self.extractors), "extractors", self.extractors, "each one once")
        _want(
            len(set(self.pairings)) == len(self.pairings), "pairings", [p.name for p in self.pairings], "each one once"
        )
        _want(0 <= self.seed < 2**31, "seed", self.seed, "an integer from 0 to 2³¹ − 1")
        if self.matrix is not None:
            _want(len(self.calibrate.levels) == 2, "calibrate.levels", self.calibrate.levels,
                  "two levels for a matrix, of the mains and of the guides")  # fmt: skip
            unknown = set(self.matrix.tested) - set(self.calibrate.kinds)
            _want(not unknown, "matrix.tested", sorted(unknown), "kinds of calibrate.kinds")
        least = 4 * self.nfe
        _want(self.search.budget is None or self.search.budget >= least, "search.budget", self.search.budget,
              f"at least {least}, the probe and one guided evaluation at {self.sampler.steps} steps")  # fmt: skip

    @property
    def named(self) -> list[str]:
        """The names of denoisers in the study: of its pairings, and of other guides that are searched."""
        pairings = [name for pairing in self.pairings for name in (pairing.main, pairing.guide)]
        return list(dict.fromkeys([*pairings, *self.search.guides]))

    @property
    def nfe(self) -> int:
        """Network evaluations of a sample of one denoiser."""
        return self.sampler.steps if self.sampler.solver == "euler" else 2 * self.sampler.steps - 1

    @property
    def seeds(self) -> list[int]:
        """The seeds of the confirmation's seed sets."""
        return [self.seed + 1 + r for r in range(self.confirm.seed_sets)]
