"""Tangential damping of the guide."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.guidance.rule import Combination, Point
from degradations.guidance.views import EPSILON, View
from degradations.projection import along, dot


@dataclass(frozen=True)
class TCFG(Combination):
    """`tcfg`: the guide loses what is not along the first singular direction of (ε1, ε0).

    ε0 ← ⟨ε0, q⟩·q with the first right singular vector q of the matrix of the two rows ε1 and ε0,
    then w·ε1 + (1 − w)·ε0. (Kwon et al. 2025, TCFG, algorithm 1)
    """

    kind: ClassVar[str] = "tcfg"
    view: ClassVar[View] = EPSILON

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        a, b, c = (each.flatten() for each in (dot(d1, d1), dot(d1, d0), dot(d0, d0)))
        gram = torch.stack([a, b, b, c], -1).reshape(-1, 2, 2)
        first = torch.linalg.eigh(gram).eigenvectors[:, :, -1]  # left singular vectors
        u1, u0 = (each.reshape(-1, *[1] * (d1.ndim - 1)) for each in first.unbind(-1))
        direction = u1 * d1 + u0 * d0  # q times the first singular value
        kept = along(d0, direction).to(d0.dtype)
        return weight * d1 + (1 - weight) * kept
