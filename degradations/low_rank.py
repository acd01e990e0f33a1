"""Weight matrices of lower rank."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser


@dataclass(frozen=True)
class LowRank(Kind):
    """`low-rank(f)`: in every weight matrix the fraction f of smallest singular values is set to 0.

    The number of these values is rounded. A weight with more than two axes is a matrix of its first
    axis and all others. (Eckart & Young 1936: the nearest matrix of that rank)
    """

    kind: ClassVar[str] = "low-rank"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_weights(self._truncate, wanted_by=str(self))

    def _truncate(self, name: str, weight: Tensor) -> Tensor:
        u, values, vt = torch.linalg.svd(weight.flatten(1).double(), full_matrices=False)
        kept = len(values) - round(self.strength * len(values))
        truncated = (u[:, :kept] * values[:kept]) @ vt[:kept]
        return truncated.to(weight).reshape(weight.shape)
