"""The contract of a solver: one step of dx/dσ = (x − D(x; σ))/σ, from σ to σ' < σ.

(The probability-flow ODE: Karras et al. 2022, eq. 1)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from degradations import InputError
from study.specs import SamplerSpec

Denoise = Callable[[Tensor, float], Tensor]


class Visit(NamedTuple):
    """An evaluation: the number of its step, from 0, and its noise level."""

    step: int
    sigma: float


@dataclass(frozen=True)
class Solver(ABC):
    """A solver by its name, its order, and the noise levels at which it evaluates the denoiser."""

    name: ClassVar[str]
    order: ClassVar[int]

    @abstractmethod
    def step(self, denoise: Denoise, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """x at σ', of x at σ."""
        raise NotImplementedError

    @abstractmethod
    def visits(self, sigmas: Sequence[float]) -> list[Visit]:
        """Every evaluation on a grid [N + 1] that falls to 0, in their order."""
        raise NotImplementedError

    def nfe(self, steps: int) -> int:
        """The number of function evaluations of one denoiser, per sample, in so many steps."""
        return len(self.visits([1.0] * steps + [0.0]))


def solvers() -> dict[str, Solver]:
    """All solvers by name, in alphabetical order."""
    return {each.name: each() for each in sorted(Solver.__subclasses__(), key=lambda s: s.name)}


def solver_of(name: str) -> Solver:
    """The solver of a name. Raises InputError if there is none."""
    found = solvers().get(name)
    if found is None:
        raise InputError(f"sampler.solver: found '{name}'; accepted: {', '.join(solvers())}.")
    return found


def nfe(sampler: SamplerSpec, steps: int | None = None) -> int:
    """Network evaluations per sample, of one denoiser, in `steps` steps or those of the sampler."""
    return solver_of(sampler.solver).nfe(sampler.steps if steps is None else steps)
