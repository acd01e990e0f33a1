"""Denoisers whose errors are known, noised data for them, and the spread of what is estimated."""

import math

import torch
from torch import Tensor

from degradations import Denoiser, Draws
from degradations.condition import NONE, Condition
from study.evaluation.mean_errors import Points, noised

STD = 0.75
SIGMAS = [0.3, 1.0, 4.0]


class Erring(Denoiser):
    """gain·D + shift + scale·n with n ~ N(0, I) drawn anew, which counts how often it is
    evaluated."""

    def __init__(
        self, base: Denoiser, shift: Tensor | float = 0.0, scale: float = 0.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.base, self.shift, self.scale, self.gain = base, shift, scale, gain
        self.evaluated = 0

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        self.evaluated += 1
        d = self.gain * self.base(x, sigma, condition, draws) + self.shift
        if self.scale == 0:
            return d
        assert draws is not None
        return d + self.scale * draws.normal("erring", x)


def gaussian(images: int, dim: int, sigmas: list[float] = SIGMAS, seed: int = 0) -> Points:
    """Noised data of N(0, STD²), in double precision."""
    clean = STD * torch.randn(
        images, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return noised(clean, None, sigmas, seed)


def variance_of_product(
    ab: float, aa: float, bb: float, va: float, vb: float, elements: int, k: int
) -> float:
    """Of the unbiased ⟨a, b⟩ from K draws common to both, whose noise of variances va, vb an
    element is one n, scaled.

    Hoeffding's: (1/K)·Σ(a·√vb + b·√va)² + 2/(K(K − 1))·va·vb·elements. (Serfling 1980, § 5.2.1)
    """
    return (aa * vb + bb * va + 2 * ab * math.sqrt(va * vb)) / k + 2 * va * vb * elements / (
        k * (k - 1)
    )


def contraction(a: float, sigma: float) -> float:
    """k of E[D] = k·x, the mean over n of the exact Gaussian denoiser under `noise(a)`."""
    return STD**2 / (STD**2 + ((1 + a) * sigma) ** 2)
