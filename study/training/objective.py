"""Training objectives: the noise levels of a batch, and the loss at them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations import Condition, Denoiser, InputError
from degradations.denoiser import column
from study.specs import RecipeSpec


@dataclass(frozen=True)
class Objective(ABC):
    """A distribution of noise levels and a loss, made from a recipe, by name."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def of(cls, recipe: RecipeSpec) -> "Objective":
        """The objective with the recipe's constants."""
        raise NotImplementedError

    @abstractmethod
    def sigmas(self, n: int, generator: torch.Generator) -> Tensor:
        """The noise levels of a batch, [n]."""
        raise NotImplementedError

    @abstractmethod
    def loss(
        self,
        denoiser: Denoiser,
        y: Tensor,
        noise: Tensor,
        sigma: Tensor,
        condition: Condition | Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, a scalar; y, noise: [B, …]; sigma: [B]."""
        raise NotImplementedError


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


OBJECTIVES: dict[str, type[Objective]] = {each.name: each for each in (EDMObjective,)}


def objective_of(recipe: RecipeSpec) -> Objective:
    """The objective of a recipe. Raises InputError if there is none of its name."""
    if recipe.objective not in OBJECTIVES:
        accepted = ", ".join(OBJECTIVES)
        raise InputError(f"recipe.objective: found '{recipe.objective}'; accepted are {accepted}.")
    return OBJECTIVES[recipe.objective].of(recipe)
