"""The contract of a degradation: a small frozen object that maps a denoiser to a worse one."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from degradations.denoiser import Denoiser
from degradations.errors import Refused


@dataclass(frozen=True)
class Degradation(ABC):
    """A kind and a strength, named `kind(strength)`; strength 0 is the identity, bit for bit.

    A kind gives its name, the range of its strength ([0, below)) and what it does to a denoiser.
    Raises Refused for a strength outside the range.
    """

    strength: float = 0.0

    kind: ClassVar[str]
    below: ClassVar[float] = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.strength < self.below:  # also catches nan
            upper = "" if math.isinf(self.below) else f" and below {self.below:g}"
            raise Refused(f"{self}: the strength must be at least 0{upper}, found {self.strength}.")
        object.__setattr__(self, "strength", float(self.strength))

    def __str__(self) -> str:
        return f"{self.kind}({self.strength:g})"

    def __call__(self, base: Denoiser) -> Denoiser:
        """The degraded denoiser; the base is unchanged, and shared, not copied."""
        return base if self.strength == 0 else self.degrade(base)

    @abstractmethod
    def degrade(self, base: Denoiser) -> Denoiser:
        """The degraded denoiser for a strength above 0. Raises Refused where the base lacks the sites."""
        raise NotImplementedError


def parse(text: str) -> Degradation:
    """The degradation of a name: `dropout(0.2)`, `noise(0.1)`, `none`. Raises Refused for anything else."""
    kinds = {kind.kind: kind for kind in Degradation.__subclasses__()}
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text)
    if not match or match[1] not in kinds:
        known = ", ".join(kind if kind == "none" else f"{kind}(STRENGTH)" for kind in sorted(kinds))
        raise Refused(f"'{text}' is not a degradation; known are {known}.")
    kind, strength = kinds[match[1]], match[2]
    if kind.kind == "none" and strength is None:
        return kind()
    try:
        number = float(strength or "")
    except ValueError:
        number = None
    if number is None or kind.kind == "none":
        form = kind.kind if kind.kind == "none" else f"{kind.kind}(STRENGTH), with a number in the brackets"
        raise Refused(f"'{text}': write {form}.")
    return kind(number)
