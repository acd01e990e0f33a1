"""How samples are drawn."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from study.specs.checks import require, require_between

MOST_CHUNK = 1_000_000  # larger chunks are not faster, even with the smallest samples


@dataclass(frozen=True)
class SamplerSpec:
    """How samples are drawn (Karras et al. 2022, algorithm 2).

    Args:
        solver: by name, such as euler or heun
        steps: noise levels visited, 2 to 10,000
        sigma_min: last noise level before zero
        sigma_max: first noise level
        rho: exponent of the grid edm, if its name has none
        grid: how the noise levels are spaced, by name: edm, linear, cosine, log-snr, vp or ve
        sigmas: noise levels of one's own, falling, in place of a grid; as many as steps
        churn: amount of fresh noise (S_churn), 0 for the deterministic sampler
        churn_min: lowest noise level with churn (S_tmin)
        churn_max: highest noise level with churn (S_tmax)
        churn_noise: scale of the fresh noise (S_noise)
        labels: stratified (the data's exact proportions) or edm2 (drawn per sample, after its
            noise)
        chunk: samples computed together, at most 1,000,000; part of what determines the random
            numbers
    """

    solver: str = "heun"
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
    grid: str = "edm"
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(
            2 <= self.steps <= 10_000, "sampler.steps", self.steps, "an integer from 2 to 10000"
        )
        require(
            0 < self.sigma_min < self.sigma_max < math.inf,
            "sampler.sigma_min, sampler.sigma_max",
            (self.sigma_min, self.sigma_max),
            "0 < sigma_min < sigma_max",
        )
        require(0 < self.rho < math.inf, "sampler.rho", self.rho, "a number above 0")
        self._check_sigmas()
        require_between(self.chunk, "sampler.chunk", 1, MOST_CHUNK)
        require(0 <= self.churn < math.inf, "sampler.churn", self.churn, "a number of at least 0")
        require(
            0 <= self.churn_min <= self.churn_max,
            "sampler.churn_min, sampler.churn_max",
            (self.churn_min, self.churn_max),
            "0 ≤ churn_min ≤ churn_max",
        )
        require(
            0 <= self.churn_noise < math.inf,
            "sampler.churn_noise",
            self.churn_noise,
            "a number of at least 0",
        )

    def _check_sigmas(self) -> None:
        if not self.sigmas:
            return
        require(
            len(self.sigmas) == self.steps,
            "sampler.sigmas",
            f"{len(self.sigmas)} levels",
            f"as many as sampler.steps, {self.steps}",
        )
        falls = all(a > b for a, b in pairwise(self.sigmas))
        require(
            falls and self.sigmas[-1] > 0 and self.sigmas[0] < math.inf,
            "sampler.sigmas",
            self.sigmas,
            "noise levels that fall, all above 0 (the last step, to 0, is added)",
        )
        require(
            self.grid == "edm", "sampler.grid", self.grid, "nothing together with sampler.sigmas"
        )
