"""Several degradations of one denoiser."""

import math
from dataclasses import dataclass

from degradations.degradation import Degradation
from degradations.denoiser import Denoiser
from degradations.errors import InputError
from degradations.identity import Identity


@dataclass(frozen=True)
class Composition(Degradation):
    """`a+b`: several degradations applied one after the other, from the left, b(a(D)).

    Nested compositions are flattened. Raises InputError if there are fewer than two parts or if
    `none` is one of them, so that one denoiser has one name.
    """

    parts: tuple[Degradation, ...]

    def __post_init__(self) -> None:
        nested = (part.parts if isinstance(part, Composition) else (part,) for part in self.parts)
        parts = tuple(part for parts in nested for part in parts)
        if len(parts) < 2 or Identity() in parts:
            raise InputError(f"'{self}': accepted: two or more parts, without 'none'.")
        object.__setattr__(self, "parts", parts)

    @property
    def networks(self) -> int:  # type: ignore[override]
        return math.prod(part.networks for part in self.parts)

    def __call__(self, base: Denoiser) -> Denoiser:
        for part in self.parts:
            base = part(base)
        return base

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))
