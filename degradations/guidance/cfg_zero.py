"""CFG-Zero*: the guide's velocity scaled to the main's, and first steps without any."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Combination, Point
from degradations.guidance.views import FLOW, View
from degradations.projection import along


@dataclass(frozen=True)
class CFGZero(Combination):
    """`cfg-zero(steps=0)`: w·u1 + (1 − w)·s·u0, s = ⟨u1, u0⟩/‖u0‖², of the flow's velocities.

    In the first `steps` steps the velocity is 0, hence D = x/(1 + σ), and neither network is
    evaluated; the paper takes one. Raises InputError unless steps ≥ 0. (Fan et al. 2025,
    CFG-Zero*, eq. 9 and § 3.3)
    """

    steps: int = 0

    kind: ClassVar[str] = "cfg-zero"
    view: ClassVar[View] = FLOW
    needs: ClassVar[frozenset[str]] = frozenset({"step"})

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"{self}: found steps {self.steps}; accepted: at least 0.")
        super().__post_init__()

    def idles(self, step: int) -> bool:
        return step < self.steps

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        scaled = along(d1, d0)  # s·u0
        return weight * d1 + (1 - weight) * scaled
