"""DPM-Solver++ with two evaluations remembered."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from degradations import Draws
from study.sampling.solver import Denoise, Solver, required


@dataclass(frozen=True)
class DPMpp2M(Solver):
    """`dpmpp-2m`: second order, one evaluation a step: exponential integration of a line through D.

    x' = (σ'/σ)·x + (1 − σ'/σ)·(D + (D − D₋)·h/(2h₋)), with the D₋ of the step before and the steps
    h = ln(σ/σ'); the first and the last step are Euler's. (Lu et al. 2022, DPM-Solver++, algorithm
    2, in the variables x/α and σ)
    """

    kind: ClassVar[str] = "dpmpp-2m"
    order: ClassVar[int] = 2
    least_steps: ClassVar[int] = 3
    needs_draws: ClassVar[bool] = True

    def step(
        self,
        denoise: Denoise,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        draws: Draws | None = None,
    ) -> Tensor:
        d = denoise(x, sigma)
        last: dict[str, Any] = required(draws, self).trajectory.memory(self, dict)
        h = math.log(sigma / sigma_next) if sigma_next else math.inf
        ahead = d
        if last and sigma_next:
            ahead = d + (d - last["d"]) * (h / (2 * last["h"]))
        last.update(d=d, h=h)
        return ahead + sigma_next / sigma * (x - ahead)
