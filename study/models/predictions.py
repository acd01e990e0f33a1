"""Networks that predict the noise, the sample or the velocity of a variance-preserving process.

In that process x_t = α(y + σn) with α = 1/√(1 + σ²), so networks are given x/√(1 + σ²). Each is the
formula of EDM, D = c_skip·x + c_out·F(c_in·x; c_noise), with c_noise = ln(σ)/4. The schedule in
which a paper trains is `recipe.noise_levels`.
"""

from abc import abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from study.models.preconditioning import Network, Preconditioned, Scalings


class Prediction(Preconditioned):
    """D = c_skip·x + c_out·F(x/√(1 + σ²); c_noise), by what F predicts."""

    @classmethod
    def of(cls, network: Network, sigma_data: float) -> Self:
        return cls(network)

    @staticmethod
    @abstractmethod
    def outer(sigma: Tensor) -> tuple[Tensor, Tensor]:
        """c_skip and c_out at σ."""
        raise NotImplementedError

    def scalings(self, sigma: Tensor) -> Scalings:
        return Scalings(*self.outer(sigma), (1 + sigma**2).rsqrt(), sigma.log() / 4)


class Epsilon(Prediction):
    """`epsilon`: F is the noise n: D = x − σF; c_skip = 1, c_out = −σ. (Ho et al. 2020)"""

    name: ClassVar[str | None] = "epsilon"

    @staticmethod
    def outer(sigma: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(sigma), -sigma


class Sample(Prediction):
    """`x0`: F is the clean sample: D = F; c_skip = 0, c_out = 1. (Salimans & Ho 2022, § 4)"""

    name: ClassVar[str | None] = "x0"

    @staticmethod
    def outer(sigma: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(sigma), torch.ones_like(sigma)


class Velocity(Prediction):
    """`v`: F is v = αn − ασy: D = α²x − ασF; c_skip = α², c_out = −ασ. (Salimans & Ho 2022, § 4)"""

    name: ClassVar[str | None] = "v"

    @staticmethod
    def outer(sigma: Tensor) -> tuple[Tensor, Tensor]:
        total = 1 + sigma**2
        return 1 / total, -sigma / total.sqrt()
