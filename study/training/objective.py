"""The contract of a training objective: the noise levels of a batch, and the loss at them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations import Condition, Denoiser, InputError
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


def objectives() -> dict[str, type[Objective]]:
    """All objectives by name, in alphabetical order."""
    return {each.name: each for each in sorted(Objective.__subclasses__(), key=lambda o: o.name)}


def objective_of(recipe: RecipeSpec) -> Objective:
    """The objective of a recipe. Raises InputError if there is none of its name."""
    if recipe.objective not in objectives():
        raise InputError(
            f"recipe.objective: found '{recipe.objective}'; accepted: {', '.join(objectives())}."
        )
    return objectives()[recipe.objective].of(recipe)
