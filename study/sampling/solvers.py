"""One step of the probability-flow ODE dx/dσ = (x − D(x; σ))/σ, from σ to σ' < σ (Karras et al.
2022, eq. 1)."""

from collections.abc import Callable

from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]


def euler(denoise: Denoise, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """x' = x + (σ' − σ)·(x − D(x; σ))/σ: first order, one evaluation.

    Added to D rather than to x, it loses no digits where σ is large.
    """
    d = denoise(x, sigma)
    return d + sigma_next / sigma * (x - d)


def heun(denoise: Denoise, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """The Euler step, then the trapezoid with the slope at its end: second order, two evaluations,
    one to σ' = 0.

    (Karras et al. 2022, algorithm 1)
    """
    d = (x - denoise(x, sigma)) / sigma
    x_next = x + (sigma_next - sigma) * d
    if sigma_next == 0:
        return x_next
    d_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
    return x + (sigma_next - sigma) * (d + d_next) / 2


SOLVERS = {"euler": euler, "heun": heun}
