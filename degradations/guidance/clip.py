"""Estimates limited to the range of the data."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Correction, Point


@dataclass(frozen=True)
class Clip(Correction):
    """`clip(limit)`: the clean estimate limited to [−limit, limit], 1 for images.

    Raises InputError unless the limit is above 0. (Saharia et al. 2022, § 2.3, "static
    thresholding")
    """

    limit: float

    kind: ClassVar[str] = "clip"
    needs: ClassVar[frozenset[str]] = frozenset({"pixels"})

    def __post_init__(self) -> None:
        if not 0 < self.limit < math.inf:
            raise InputError(f"{self}: found limit {self.limit:g}; accepted: above 0, finite.")
        super().__post_init__()

    def correct(self, d: Tensor, d1: Tensor, at: Point) -> Tensor:
        return d.clamp(-self.limit, self.limit)
