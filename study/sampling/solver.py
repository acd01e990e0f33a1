"""The contract of a solver: one step of dx/dσ = (x − D(x; σ))/σ, from σ to σ' < σ.

(The probability-flow ODE: Karras et al. 2022, eq. 1)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

from torch import Tensor

from degradations import Draws, InputError
from degradations.named import Named, named, read
from study.specs import SamplerSpec

Denoise = Callable[[Tensor, float], Tensor]


class Visit(NamedTuple):
    """An evaluation: the number of its step, from 0, and its noise level."""

    step: int
    sigma: float


@dataclass(frozen=True)
class Solver(Named, ABC):
    """A solver by its name, its order, and the noise levels at which it evaluates the denoiser.

    order: of convergence in the step, in distribution if it is stochastic. needs_draws: whether it
    draws random numbers, or remembers earlier steps of the trajectory. least_steps: with which it
    has its order.
    """

    order: ClassVar[int]
    least_steps: ClassVar[int] = 2
    needs_draws: ClassVar[bool] = False

    @abstractmethod
    def step(
        self,
        denoise: Denoise,
        x: Tensor,
        sigma: float,
        sigma_next: float,
        draws: Draws | None = None,
    ) -> Tensor:
        """x at σ', of x at σ. draws: of the chunk, and what is remembered of its trajectory."""
        raise NotImplementedError

    def visits(self, sigmas: Sequence[float]) -> list[Visit]:
        """Every evaluation on a grid [N + 1] that falls to 0, in their order."""
        found: list[Visit] = []
        for number, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            found += [Visit(number, level) for level in self.levels(sigma, sigma_next)]
        return found

    def levels(self, sigma: float, sigma_next: float) -> list[float]:
        """The noise levels of the evaluations of a step, in their order."""
        return [sigma]

    def nfe(self, steps: int) -> int:
        """The number of function evaluations of one denoiser, per sample, in so many steps."""
        return len(self.visits([1.0] * steps + [0.0]))


def solvers() -> dict[str, Solver]:
    """All solvers by name, in alphabetical order, their options at the defaults."""
    return {kind: each() for kind, each in named(Solver).items()}


def solver_of(name: str) -> Solver:
    """The solver of a name, `heun` or `ddim(eta=0.5)`. Raises InputError if there is none."""
    known = {kind: type(each) for kind, each in solvers().items()}
    return read(name, known, f"sampler.solver: '{name[:80]}'", "a solver")


def nfe(sampler: SamplerSpec, steps: int | None = None) -> int:
    """Network evaluations per sample, of one denoiser, in `steps` steps or those of the sampler."""
    return solver_of(sampler.solver).nfe(sampler.steps if steps is None else steps)


def required(draws: Draws | None, by: Solver) -> Draws:
    """The draws, for a solver that needs them. Raises InputError if they are None."""
    if draws is None:
        raise InputError(f"{by}: found no draws; give the chunk's draws=Draws(seed).")
    return draws
