"""A table of weights, one for each band of noise levels."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Schedule


@dataclass(frozen=True)
class Bands(Schedule):
    """`bands(σ₀, share, σ₁, share, …, σ_K)`: w(σ) = 1 + (w − 1)·share_k for σ_{k−1} ≤ σ < σ_k.

    So at w = 2 the shares are the weights less 1. The last band includes its end. Raises InputError
    unless the edges rise from at least 0 and there is a finite share between any two, and for a
    noise level outside the bands.
    """

    table: tuple[float, ...]

    kind: ClassVar[str] = "bands"
    several: ClassVar[tuple[str, str] | None] = ("table", "SIGMA, SHARE, SIGMA, …")

    def __post_init__(self) -> None:
        edges, shares = self.edges, self.table[1::2]
        rising = all(0 <= low < high < math.inf for low, high in pairwise(edges))
        if len(edges) < 2 or len(self.table) % 2 == 0 or not rising:
            raise InputError(
                f"{self}: accepted: noise levels that rise, and a share between any two of them."
            )
        if not all(math.isfinite(share) for share in shares):
            raise InputError(f"{self}: accepted: finite shares.")
        super().__post_init__()

    @property
    def edges(self) -> tuple[float, ...]:
        """The ends of the bands, rising."""
        return self.table[::2]

    def share(self, sigma: Tensor) -> Tensor:
        self.require_levels(sigma)
        inner = torch.tensor(self.edges[1:-1], dtype=torch.float64, device=sigma.device)
        shares = torch.tensor(self.table[1::2], dtype=torch.float64, device=sigma.device)
        return shares[torch.bucketize(sigma, inner, right=True)]

    def require_levels(self, sigmas: Tensor) -> None:
        low, high = float(sigmas.min()), float(sigmas.max())
        # a grid's end is rounded
        if low < self.edges[0] * (1 - 1e-9) or high > self.edges[-1] * (1 + 1e-9):
            raise InputError(
                f"{self}: found noise levels from {low:g} to {high:g}; accepted: bands that cover "
                "those of the sampler."
            )
