"""Weights that rise or fall over the logarithm of the noise level."""

import math
from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from degradations.errors import InputError
from degradations.guidance.rule import Schedule


@dataclass(frozen=True)
class Ramp(Schedule):
    """A share of w − 1 that goes from 0 at σ = zero to 1 at σ = full, and stays so beyond them.

    With u = ln(σ/zero)/ln(full/zero), limited to [0, 1]. zero above full: the weight rises while
    the noise falls. Raises InputError unless both are finite, above 0 and different.
    """

    zero: float
    full: float

    def __post_init__(self) -> None:
        ends = self.zero, self.full
        if not (all(0 < end < math.inf for end in ends) and self.zero != self.full):
            raise InputError(
                f"{self}: found {self.zero:g}, {self.full:g}; accepted: two different noise levels "
                "above 0."
            )
        super().__post_init__()

    def share(self, sigma: Tensor) -> Tensor:
        u = (sigma / self.zero).log() / math.log(self.full / self.zero)
        return self.shape(u.clamp(0, 1))

    @abstractmethod
    def shape(self, u: Tensor) -> Tensor:
        """The share at u in [0, 1]: 0 at 0, 1 at 1."""
        raise NotImplementedError
