"""Adaptive projected guidance."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Combination, Point
from degradations.projection import along, norm


@dataclass(frozen=True)
class APG(Combination):
    """`apg(eta=0, norm=0, momentum=0)`: D1 + (w − 1)·(Δ⊥ + η·Δ∥), where Δ = D1 − D0.

    First Δ ← Δ + momentum·(the last Δ of the trajectory), then its norm is limited to `norm` (0: no
    limit), then it is divided into the part along D1 and the rest. The momentum is carried from one
    evaluation of the guide to the next, of which Heun makes two a step; the paper, whose solver
    evaluates once, does not say. Raises InputError unless norm ≥ 0 and |momentum| < 1. (Sadat et
    al. 2024, algorithm 1)
    """

    eta: float = 0.0
    norm: float = 0.0
    momentum: float = 0.0

    kind: ClassVar[str] = "apg"

    def __post_init__(self) -> None:
        if not self.norm >= 0:
            raise InputError(f"{self}: found norm {self.norm:g}; accepted: at least 0.")
        if not abs(self.momentum) < 1:
            raise InputError(f"{self}: found momentum {self.momentum:g}; accepted: −1 to 1, open.")
        super().__post_init__()

    def begin(self) -> Any:
        return {} if self.momentum else None

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        delta = d1 - d0
        if self.momentum:
            delta = delta + self.momentum * at.memory.get("delta", torch.zeros_like(delta))
            at.memory["delta"] = delta
        if self.norm:
            length = norm(delta)
            shorter = torch.where(length > self.norm, self.norm / length, 1.0)
            delta = delta * shorter.to(delta.dtype)
        parallel = along(delta, d1)
        return d1 + (weight - 1) * (delta - parallel + self.eta * parallel)
