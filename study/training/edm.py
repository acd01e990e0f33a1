"""The objective of EDM."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations import Condition, Denoiser
from degradations.denoiser import column
from study.specs import RecipeSpec
from study.training.objective import Objective


@dataclass(frozen=True)
class EDMObjective(Objective):
    """`edm`: ln σ ~ N(P_mean, P_std²), and λ(σ)·|D(y + σn; σ) − y|² with λ = (σ² + σd²)/(σσd)².

    The loss is a mean over samples and elements. (Karras et al. 2022, eq. 2 and table 1)
    """

    p_mean: float
    p_std: float
    sigma_data: float

    name: ClassVar[str] = "edm"

    @classmethod
    def of(cls, recipe: RecipeSpec) -> "EDMObjective":
        return cls(recipe.p_mean, recipe.p_std, recipe.sigma_data)

    def sigmas(self, n: int, generator: torch.Generator) -> Tensor:
        return (self.p_mean + self.p_std * torch.randn(n, generator=generator)).exp()

    def loss(
        self,
        denoiser: Denoiser,
        y: Tensor,
        noise: Tensor,
        sigma: Tensor,
        condition: Condition | Tensor | None = None,
    ) -> Tensor:
        s = column(sigma, y)
        weight = (s**2 + self.sigma_data**2) / (s * self.sigma_data) ** 2
        return (weight * (denoiser(y + s * noise, sigma, condition) - y) ** 2).mean()
