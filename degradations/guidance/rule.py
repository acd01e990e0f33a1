"""The contract of a rule: how the estimates of main and guide are combined."""

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
    """How the estimates of main and guide are combined at a weight, which is not part of the rule.

    At weight 1 the result is the main alone, bit for bit, and the guide is not evaluated.
    """

    def uses_guide(self, weight: float, sigma: Tensor) -> Tensor:
        """Whether the guide is needed, for each noise level of sigma; elsewhere D = D1."""
        return torch.full_like(sigma, weight != 1, dtype=torch.bool)

    def uses_main(self, weight: float) -> bool:
        """Whether the main is needed at the noise levels where the guide is."""
        return True

    @abstractmethod
    def combine(self, d1: Tensor, d0: Tensor, weight: float, at: Point) -> Tensor:
        """The guided estimate from the main's d1 and the guide's d0, all of the shape of x."""
        raise NotImplementedError


def rules() -> dict[str, type[Rule]]:
    """All rules by their kind, in alphabetical order."""
    return {rule.kind: rule for rule in sorted(Rule.__subclasses__(), key=lambda rule: rule.kind)}


def parse_rule(text: str) -> Rule:
    """The rule of a name: `constant`, `interval(0.3, 5)`. Raises InputError if no rule has it."""
    return read(text, rules(), f"'{text}'", "a rule")
