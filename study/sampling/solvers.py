"""One step of the probability-flow ODE dx/dσ = (x − D(x; σ))/σ, from σ to σ' < σ.

(Karras et al. 2022, eq. 1)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import InputError
from study.specs import SamplerSpec

Denoise = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Solver(ABC):
    """A solver: its name, its order, and the noise levels at which it evaluates the denoiser."""

    name: ClassVar[str]
    order: ClassVar[int]

    @abstractmethod
    def step(self, denoise: Denoise, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """x at σ' from x at σ."""
        raise NotImplementedError

    @abstractmethod
    def visits(self, sigmas: Sequence[float]) -> list[float]:
        """The noise level of every evaluation, for a grid [N + 1] that falls to 0."""
        raise NotImplementedError

    def nfe(self, steps: int) -> int:
        """The number of function evaluations (NFE) per sample, of one denoiser, in N steps."""
        return len(self.visits([1.0] * steps + [0.0]))


class Euler(Solver):
    """`euler`: x' = x + (σ' − σ)·(x − D(x; σ))/σ, first order, one evaluation per step."""

    name: ClassVar[str] = "euler"
    order: ClassVar[int] = 1

    def step(self, denoise: Denoise, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        d = denoise(x, sigma)
        # Adding to D rather than to x keeps the digits when σ is large.
        return d + sigma_next / sigma * (x - d)

    def visits(self, sigmas: Sequence[float]) -> list[float]:
        return list(sigmas[:-1])


class Heun(Solver):
    """`heun`: the Euler step, then the trapezoidal rule with the slope at its end, second order.

    Two evaluations per step, one in the last. (Karras et al. 2022, algorithm 1)
    """

    name: ClassVar[str] = "heun"
    order: ClassVar[int] = 2

    def step(self, denoise: Denoise, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        d = (x - denoise(x, sigma)) / sigma
        x_next = x + (sigma_next - sigma) * d
        if sigma_next == 0:
            return x_next
        d_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
        return x + (sigma_next - sigma) * (d + d_next) / 2

    def visits(self, sigmas: Sequence[float]) -> list[float]:
        return [*sigmas[:-1], *sigmas[1:-1]]


SOLVERS: dict[str, Solver] = {solver.name: solver for solver in (Euler(), Heun())}


def solver_of(name: str) -> Solver:
    """The solver of a name. Raises InputError if no solver has it."""
    if name not in SOLVERS:
        raise InputError(f"solver: found '{name}'; accepted: {', '.join(SOLVERS)}.")
    return SOLVERS[name]


def nfe(sampler: SamplerSpec, steps: int | None = None) -> int:
    """The number of function evaluations (NFE) per sample, of one denoiser.

    steps: their number, by default that of the sampler.
    """
    return solver_of(sampler.solver).nfe(sampler.steps if steps is None else steps)
