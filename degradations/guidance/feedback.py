"""Feedback guidance: a weight that follows from how the sample has gone so far."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from degradations.denoiser import column
from degradations.errors import InputError
from degradations.guidance.rule import Combination, Point
from degradations.projection import dot


@dataclass(frozen=True)
class Feedback(Combination):
    """`feedback(pi, tau, delta, most)`: weight 1 + (w − 1)·(λ − 1); w = 2 is the paper's λ.

    λ = p/(p − (1 − π)) of each sample, at most `most`, where p is the running ratio p(c|x)/p(c). It
    begins at 1, and a step from x at σ to x' at σ' adds to ln p

        δ − τ/(2s²)·(‖x' − μ1‖² − ‖x' − μ0‖²), μ_k = x + (1 − σ'²/σ²)·(D_k − x),

    with s² = σ'²·(1 − σ'²/σ²), the mean and variance of the reverse chain of each estimate. It is
    updated where the noise level has fallen since the last evaluation of the guide. Raises
    InputError unless 0 < π < 1, τ ≥ 0 and most > 1. (Koulischer et al. 2025, § 4; π is the share of
    the conditional in what was learned)
    """

    pi: float
    tau: float
    delta: float
    most: float

    kind: ClassVar[str] = "feedback"

    def __post_init__(self) -> None:
        if not (0 < self.pi < 1 and self.tau >= 0 and self.most > 1):
            raise InputError(
                f"{self}: accepted: pi between 0 and 1, tau at least 0, and most above 1."
            )
        super().__post_init__()

    def begin(self) -> Any:
        return {}

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        log_p = self._log_ratio(at)
        at.memory.update(x=at.x, sigma=at.sigma, d1=d1, d0=d0, log_p=log_p)
        ratio = log_p.exp()
        factor = (ratio / (ratio - (1 - self.pi))).to(d1.dtype)
        return d1 + (weight - 1) * (factor - 1) * (d1 - d0)

    def _log_ratio(self, at: Point) -> Tensor:
        """ln p of each sample, [B, 1, …], float64."""
        last = at.memory
        if not last:
            return torch.zeros(len(at.x), *[1] * (at.x.ndim - 1)).to(at.x.device, torch.float64)
        before, now = (column(s, at.x.double()) for s in (last["sigma"], at.sigma))
        left = (now / before) ** 2
        means = [last["x"] + (1 - left) * (last[key] - last["x"]) for key in ("d1", "d0")]
        errors = [dot(at.x - mean, at.x - mean) for mean in means]
        variance = now**2 * (1 - left)
        moved = self.delta - self.tau / 2 * (errors[0] - errors[1]) / variance
        # below this p the factor would exceed `most`
        least = (1 - self.pi) * self.most / (self.most - 1)
        floor = torch.tensor(least, dtype=torch.float64).log()
        log_p: Tensor = torch.where(
            left < 1, (last["log_p"] + moved).clamp(min=floor), last["log_p"]
        )
        return log_p
