"""The contract of a degradation: a small frozen object that maps a denoiser to a worse one."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from degradations.denoiser import Denoiser
from degradations.errors import InputError


class Degradation(ABC):
    """What maps a denoiser to a worse one, with a name that `parse` reads back."""

    @abstractmethod
    def __call__(self, base: Denoiser) -> Denoiser:
        """The degraded denoiser; the base is unchanged, and shared as far as possible. Raises
        InputError where the base lacks what the degradation acts on."""
        raise NotImplementedError

    @abstractmethod
    def __str__(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Kind(Degradation):
    """One way to make a denoiser worse, with a strength as its dial, named `kind(strength)`.

    A kind gives its name; the strength that changes nothing, at which the base itself is returned;
    the range of the other strengths, [least, below), or [least, most] where `most` is given;
    whether damage rises with the strength; and what it does to a denoiser. Further fields are its
    options, numbers with defaults: `kind(strength, option=number)`. Raises InputError for a
    strength outside the range and an option that is not a finite number of its default's type.
    """

    strength: float

    kind: ClassVar[str]
    identity: ClassVar[float] = 0.0
    least: ClassVar[float] = 0.0
    below: ClassVar[float] = math.inf
    most: ClassVar[float] = math.inf
    rises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        strength = float(self.strength) + 0.0  # + 0.0: −0 has the name of 0
        object.__setattr__(self, "strength", strength)
        inside = self.least <= strength <= self.most and strength < self.below
        if not inside and strength != self.identity:
            limits = {f"at most {self.most:g}": self.most, f"below {self.below:g}": self.below}
            upper = (
                " and ".join(words for words, limit in limits.items() if limit < math.inf)
                or "finite"
            )
            other = "" if self.least <= self.identity < math.inf else f", or {self.identity:g}"
            accepted = f"at least {self.least:g} and {upper}{other}"
            raise InputError(f"{self}: the strength must be {accepted}, found {_short(strength)}.")
        for name, default in self.options().items():
            found = getattr(self, name)
            option = type(default)(found)
            if option != found or not abs(option) < math.inf:
                raise InputError(
                    f"{self}: {name} must be a finite {type(default).__name__}, found {found}."
                )
            object.__setattr__(self, name, option)

    def __call__(self, base: Denoiser) -> Denoiser:
        return base if self.strength == self.identity else self.degrade(base)

    def __str__(self) -> str:
        unusual = [
            name for name, default in self.options().items() if getattr(self, name) != default
        ]
        options = "".join(f", {name}={_short(getattr(self, name))}" for name in unusual)
        return f"{self.kind}({_short(self.strength)}{options})"

    @abstractmethod
    def degrade(self, base: Denoiser) -> Denoiser:
        """The degraded denoiser for a strength that is not the identity's. Raises InputError where
        the base lacks what the kind acts on."""
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, Any]:
        """The names of the fields beside the strength, with their defaults."""
        return {field.name: field.default for field in fields(cls) if field.name != "strength"}


def _short(number: float) -> str:
    """The shortest text that reads back as the same number: 0.2, 4, 1e-05, inf."""
    return repr(number).removesuffix(".0")
