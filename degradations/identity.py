"""The degradation that changes nothing."""

from dataclasses import dataclass

from degradations.degradation import Degradation
from degradations.denoiser import Denoiser


@dataclass(frozen=True)
class Identity(Degradation):
    """`none`: the base itself."""

    def __call__(self, base: Denoiser) -> Denoiser:
        return base

    def __str__(self) -> str:
        return "none"
