"""The parametrisations in which rules combine: the estimate, ε, the score and two velocities."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from degradations.denoiser import column, epsilon, score, velocity

Map = Callable[[Tensor, Tensor, Tensor], Tensor]  # of an estimate (or a view of it), x and σ


@dataclass(frozen=True)
class View:
    """A parametrisation: `of(D, x, σ)` is affine in D, and `back(of(D, x, σ), x, σ)` is D."""

    name: str
    of: Map
    back: Map


def flow_velocity(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """u = ε − D, the velocity dx_t/dt of the linear path x_t = (1 − t)·y + t·n, σ = t/(1 − t).

    Here x is x_t/(1 − t). (Lipman et al. 2023; Esser et al. 2024, eq. 13)
    """
    return epsilon(denoised, x, sigma) - denoised


def _from_velocity(v: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    s = column(sigma, x)
    return (x - s * (1 + s**2).sqrt() * v) / (1 + s**2)


def _from_flow(u: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    s = column(sigma, x)
    return (x - s * u) / (1 + s)


X0 = View("x0", lambda d, x, sigma: d, lambda d, x, sigma: d)
EPSILON = View("ε", epsilon, lambda e, x, sigma: x - column(sigma, x) * e)
SCORE = View("score", score, lambda s, x, sigma: x + column(sigma, x) ** 2 * s)
VELOCITY = View("v", velocity, _from_velocity)
FLOW = View("flow velocity", flow_velocity, _from_flow)
