"""Degradations by name."""

from functools import lru_cache

from degradations.composition import Composition
from degradations.degradation import Degradation, Kind
from degradations.errors import InputError
from degradations.identity import Identity
from degradations.named import read, split_parts


def kinds() -> dict[str, type[Kind]]:
    """Every kind, by its name, in alphabetical order."""
    return {kind.kind: kind for kind in sorted(Kind.__subclasses__(), key=lambda kind: kind.kind)}


@lru_cache(maxsize=2**16)  # of names, which a study of many pairings asks for repeatedly
def parse(text: str) -> Degradation:
    """The degradation of a name, such as `none`, `dropout(0.2)` or `dropout(0.05)+noise(0.1)`.

    Options are written as in `weight-noise(0.1, seed=1)`. Raises InputError if the text is not such
    a name.
    """
    parts = split_parts(text)
    if len(parts) == 1:
        return _part(text, f"'{text}'")
    return Composition(tuple(_part(part, f"'{part.strip()}' in '{text}'") for part in parts))


def family(text: str) -> Kind:
    """The degradations of a kind with fixed options, `prune` or `weight-noise(seed=1)`.

    Returned at the identity strength; `dataclasses.replace(…, strength=…)` gives the others. Raises
    InputError if the text is not a kind, or has other options.
    """
    name, bracket, rest = text.partition("(")
    kind = kinds().get(name.strip())
    if kind is None:
        raise InputError(
            f"'{text}' is not a kind of degradation; the kinds are {', '.join(kinds())}."
        )
    options = f", {rest}" if bracket else ")"
    found = _part(f"{kind.kind}({kind.identity}{options}", f"'{text}'")
    assert isinstance(found, Kind)
    return found


def _part(text: str, found: str) -> Degradation:
    name = text.partition("(")[0].strip()
    if name == "none":
        if text.strip() != name:
            raise InputError(f"{found}: write none, without brackets.")
        return Identity()
    return read(text, kinds(), found, "a degradation (none, one of those below, or several by +)")
