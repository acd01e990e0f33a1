"""CFG++: guided clean estimates that are noised again by the guide."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.guidance.rule import Combination, Point


@dataclass(frozen=True)
class CFGPP(Combination):
    """`cfg-pp`: w in [0, 1] is the λ of D0 + λ·(D1 − D0), to which the guide's noise is added.

    x' = D0 + λ·(D1 − D0) + σ'·ε0 with ε0 = (x − D0)/σ. A step of Euler's method from D_v has the
    same x' for v = λ·σ/(σ − σ'), so that is the weight at each step, and the rule needs a solver
    that evaluates once a step. Weight 1 is not the main alone. (Chung et al. 2024, algorithm 2)
    """

    kind: ClassVar[str] = "cfg-pp"
    needs: ClassVar[frozenset[str]] = frozenset({"step", "first order"})
    main_at_one: ClassVar[bool] = False

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        assert at.trajectory is not None  # as `needs` says
        sigma, sigma_next = at.trajectory.sigma, at.trajectory.sigma_next
        return d0 + weight * sigma / (sigma - sigma_next) * (d1 - d0)
