"""The contract of a rule: how main and guide become one estimate."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from degradations.named import Named, read


class Point(NamedTuple):
    """Where a rule combines: x [B, …] and its noise level, float64, [B] or a scalar."""

    x: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Rule(Named, ABC):
    """How the estimates of main and guide become one, at a weight; the weight is no part of a rule.

    Weight 1 is the main alone, bit for bit, and the guide is then not evaluated.
    """

    def uses_guide(self, weight: float, sigma: Tensor) -> Tensor:
        """Whether the guide is needed at noise levels, of the shape of sigma; elsewhere the main
        is alone."""
        return torch.full_like(sigma, weight != 1, dtype=torch.bool)

    def uses_main(self, weight: float) -> bool:
        """Whether the main is needed where the guide is."""
        return True

    @abstractmethod
    def combine(self, d1: Tensor, d0: Tensor, weight: float, at: Point) -> Tensor:
        """The guided estimate of main d1 and guide d0, all of the shape of x."""
        raise NotImplementedError


def rules() -> dict[str, type[Rule]]:
    """Every rule, by its kind, in alphabetical order."""
    return {rule.kind: rule for rule in sorted(Rule.__subclasses__(), key=lambda rule: rule.kind)}


def parse_rule(text: str) -> Rule:
    """The rule of a name: `constant`, `interval(0.3, 5)`. Raises InputError for anything else."""
    return read(text, rules(), f"'{text}'", "a rule")
