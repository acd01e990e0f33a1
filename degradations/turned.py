"""An error of chosen length and direction, for tests."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class Turned(Kind):
    """`turned(r, angle=0)`: D + r·R u, with u(x; σ) = D(x; 1.2·σ) − D(x; σ) and a rotation R.

    R rotates coordinates 1 and 2, 3 and 4, … of the flattened sample by `angle` degrees; an odd
    last one is unchanged. With an even number of coordinates the errors of turned(r) and turned(q,
    angle=θ) have lengths in the ratio r : q and the cosine cos θ everywhere, which tests measures
    of how well two errors match. If D is stochastic, both evaluations use the same draws.
    """

    angle: float = 0.0

    kind: ClassVar[str] = "turned"

    def degrade(self, base: Denoiser) -> Denoiser:
        return _Turned(base, self.strength, math.radians(self.angle))


class _Turned(Denoiser):
    def __init__(self, base: Denoiser, r: float, theta: float) -> None:
        super().__init__()
        self.base, self.r, self.theta = base, r, theta

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        twin = draws and draws.twin()
        d = self.base(x, sigma, condition, draws)
        u = self.base(x, 1.2 * sigma, condition, twin) - d
        return d + self.r * _rotated(u, self.theta)


def _rotated(u: Tensor, theta: float) -> Tensor:
    flat = u.flatten(1)
    pairs = flat.shape[1] // 2
    first, second = flat[:, : 2 * pairs : 2], flat[:, 1 : 2 * pairs : 2]
    cos, sin = math.cos(theta), math.sin(theta)
    turned = torch.stack((cos * first - sin * second, sin * first + cos * second), dim=2).flatten(1)
    return torch.cat((turned, flat[:, 2 * pairs :]), dim=1).reshape(u.shape)
