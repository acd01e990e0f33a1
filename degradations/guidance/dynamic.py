"""Dynamic thresholding."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Correction, Point


@dataclass(frozen=True)
class Dynamic(Correction):
    """`dynamic(percentile)`: clip(D, −s, s)/s of the clean estimate, for pixels in [−1, 1].

    s = max(1, the percentile of |D| over each sample), so an estimate within [−1, 1] stays as it
    is. Raises InputError unless 0 < percentile ≤ 100. (Saharia et al. 2022, § 2.3; the percentile
    is not stated)
    """

    percentile: float

    kind: ClassVar[str] = "dynamic"
    needs: ClassVar[frozenset[str]] = frozenset({"pixels"})

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise InputError(
                f"{self}: found percentile {self.percentile:g}; accepted: above 0, at most 100."
            )
        super().__post_init__()

    def correct(self, d: Tensor, d1: Tensor, at: Point) -> Tensor:
        size = d.abs().flatten(1).float()
        s = torch.quantile(size, self.percentile / 100, dim=1).clamp(min=1).to(d.dtype)
        s = s.reshape(-1, *[1] * (d.ndim - 1))
        return d.clamp(-s, s) / s
