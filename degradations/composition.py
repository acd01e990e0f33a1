"""Several degradations of one denoiser."""

from dataclasses import dataclass

from degradations.degradation import Degradation
from degradations.denoiser import Denoiser
from degradations.errors import InputError
from degradations.identity import Identity


@dataclass(frozen=True)
class Composition(Degradation):
    """`a+b`: the degradations one after the other, from the left, b(a(D)).

    Compositions among the parts are replaced by their parts. Raises InputError for fewer than two
    parts, and for `none` among them: one denoiser has one name.
    """

    parts: tuple[Degradation, ...]

    def __post_init__(self) -> None:
        nested = (part.parts if isinstance(part, Composition) else (part,) for part in self.parts)
        parts = tuple(part for parts in nested for part in parts)
        if len(parts) < 2 or Identity() in parts:
            raise InputError(
                f"'{self}': a composition has two parts or more, and 'none' is not one of them."
            )
        object.__setattr__(self, "parts", parts)

    def __call__(self, base: Denoiser) -> Denoiser:
        for part in self.parts:
            base = part(base)
        return base

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))
