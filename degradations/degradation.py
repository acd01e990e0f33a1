"""The contract of a degradation: a small frozen object that maps a denoiser to a worse one."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from degradations.denoiser import Denoiser
from degradations.errors import InputError
from degradations.named import Named, shortest


class Degradation(ABC):
    """A map from a denoiser to a worse one, with a name that `parse` reads back.

    networks: how many networks the worse one evaluates.
    """

    networks: int = 1

    @abstractmethod
    def __call__(self, base: Denoiser) -> Denoiser:
        """The degraded denoiser, which shares the parameters of the unchanged base where possible.

        Raises InputError if the base lacks the sites or weights that the degradation acts on.
        """
        raise NotImplementedError

    @abstractmethod
    def __str__(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Kind(Named, Degradation):
    """A way to make a denoiser worse, whose strength is adjustable; named `kind(strength)`.

    A kind defines its name; the identity strength, at which the base itself is returned; the range
    of other strengths, [least, below), or [least, most] if `most` is given; whether damage rises
    with the strength; and what it does to a denoiser. Further fields are its options. Raises
    InputError if the strength is outside the range.
    """

    strength: float

    identity: ClassVar[float] = 0.0
    least: ClassVar[float] = 0.0
    below: ClassVar[float] = math.inf
    most: ClassVar[float] = math.inf
    rises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        strength = float(self.strength) + 0.0  # + 0.0: turns −0 into 0, so that both have one name
        object.__setattr__(self, "strength", strength)
        inside = self.least <= strength <= self.most and strength < self.below
        if not inside and strength != self.identity:
            limits = {f"at most {self.most:g}": self.most, f"below {self.below:g}": self.below}
            upper = " and ".join(words for words, limit in limits.items() if limit < math.inf)
            other = "" if self.least <= self.identity < math.inf else f", or {self.identity:g}"
            accepted = f"at least {self.least:g} and {upper or 'finite'}{other}"
            raise InputError(f"{self}: found strength {shortest(strength)}; accepted: {accepted}.")
        super().__post_init__()

    def __call__(self, base: Denoiser) -> Denoiser:
        return base if self.strength == self.identity else self.degrade(base)

    @abstractmethod
    def degrade(self, base: Denoiser) -> Denoiser:
        """The degraded denoiser at a strength other than the identity strength.

        Raises InputError if the base lacks the sites or weights that the kind acts on.
        """
        raise NotImplementedError
