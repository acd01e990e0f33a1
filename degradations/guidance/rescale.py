"""Guided estimates with the main's standard deviation."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Correction, Point


@dataclass(frozen=True)
class Rescale(Correction):
    """`rescale(phi)`: φ·D·std(D1)/std(D) + (1 − φ)·D, the deviations over each sample.

    Of the clean estimate; the paper's model predicts v, of which nonlinear rules give other
    results. Raises InputError unless 0 ≤ φ ≤ 1. (Lin et al. 2024, § 3.4)
    """

    phi: float

    kind: ClassVar[str] = "rescale"

    def __post_init__(self) -> None:
        if not 0 <= self.phi <= 1:
            raise InputError(f"{self}: found phi {self.phi:g}; accepted: 0 to 1.")
        super().__post_init__()

    def correct(self, d: Tensor, d1: Tensor, at: Point) -> Tensor:
        axes = tuple(range(1, d.ndim))
        factor = d1.std(axes, keepdim=True) / d.std(axes, keepdim=True)
        return self.phi * d * factor + (1 - self.phi) * d
