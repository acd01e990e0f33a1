"""Self-attention with blurred queries."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.blur import blur
from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws
from degradations.errors import InputError


@dataclass(frozen=True)
class QueryBlur(Kind):
    """`query-blur(s)`: A ↦ softmax((G_s q)·kᵀ/√d), queries blurred by s positions.

    Acts at the sites of the role 'attention', whose maps A suffice: G_s is linear, and ln A differs
    from the products by a constant for every query, so softmax(G_s ln A) is the same. The positions
    must be those of a square. The guide of smoothed energy guidance, which takes s → ∞ as well.
    Raises InputError for maps of other positions. (Hong 2024, SEG, eq. 10)
    """

    kind: ClassVar[str] = "query-blur"

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("attention", lambda site: site.then(self._blur), wanted_by=str(self))

    def _blur(self, attention: Tensor, draws: Draws | None) -> Tensor:
        n = attention.shape[-1]
        side = math.isqrt(n)
        if side**2 != n:
            raise InputError(f"{self}: found {n} positions; accepted: those of a square map.")
        logs = attention.clamp(min=torch.finfo(attention.dtype).tiny).log()
        of_queries = logs.mT.reshape(-1, n, side, side)
        return blur(of_queries, self.strength).reshape(logs.shape).mT.softmax(dim=-1)
