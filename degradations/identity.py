"""The degradation that changes nothing."""

from dataclasses import dataclass, field
from typing import ClassVar

from degradations.degradation import Degradation
from degradations.denoiser import Denoiser


@dataclass(frozen=True)
class Identity(Degradation):
    """`none`: the base itself."""

    strength: float = field(default=0.0, init=False)

    kind: ClassVar[str] = "none"

    def __str__(self) -> str:
        return self.kind

    def degrade(self, base: Denoiser) -> Denoiser:
        return base
