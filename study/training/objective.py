"""The contract of a training objective: a weight of the squared error at each noise level."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import Condition, Denoiser
from degradations.denoiser import column
from degradations.named import Named, named, read


@dataclass(frozen=True)
class Objective(Named, ABC):
    """L = λ(σ)·|D(y + σn; σ) − y|², a mean over samples and elements.

    learns: whether u(σ) is learned beside the denoiser, with the loss λ(σ)/exp(u)·|D − y|² + u.
    """

    learns: ClassVar[bool] = False

    @abstractmethod
    def weight(self, sigma: Tensor, sigma_data: float) -> Tensor:
        """λ at noise levels, of their shape."""
        raise NotImplementedError

    def loss(
        self,
        denoiser: Denoiser,
        y: Tensor,
        noise: Tensor,
        sigma: Tensor,
        condition: Condition | Tensor | None = None,
        sigma_data: float = 1.0,
        u: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, a scalar; y, noise: [B, …]; sigma, u: [B]."""
        s = column(sigma, y)
        error = self.weight(s, sigma_data) * (denoiser(y + s * noise, sigma, condition) - y) ** 2
        if u is None:
            return error.mean()
        return (error / column(u.exp(), y)).mean() + u.mean()


def objectives() -> dict[str, type[Objective]]:
    """All objectives by name, in alphabetical order."""
    return named(Objective)


def objective_of(name: str) -> Objective:
    """The objective of a name, such as `edm` or `p2(gamma=0.5)`. Raises InputError for another."""
    return read(name, objectives(), f"recipe.objective: '{name[:80]}'", "an objective")
