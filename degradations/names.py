"""From the name of a degradation to the degradation."""

import re
from difflib import get_close_matches

from degradations.composition import Composition
from degradations.degradation import Degradation, Kind
from degradations.errors import InputError
from degradations.identity import Identity


def kinds() -> dict[str, type[Kind]]:
    """Every kind, by its name, in alphabetical order."""
    return {kind.kind: kind for kind in sorted(Kind.__subclasses__(), key=lambda kind: kind.kind)}


def parse(text: str) -> Degradation:
    """The degradation of a name: `none`, `dropout(0.2)`, `weight-noise(0.1, seed=1)`,
    `dropout(0.05)+noise(0.1)`.

    Raises InputError for anything else.
    """
    # at each + outside brackets: within them it may belong to 1e+3
    parts = re.split(r"\+(?![^(]*\))", text)
    if len(parts) == 1:
        return _part(text, f"'{text}'")
    return Composition(tuple(_part(part, f"'{part.strip()}' in '{text}'") for part in parts))


def _part(text: str, found: str) -> Degradation:
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(([^()]*)\)\s*)?", text)
    name, inside = match.groups() if match else (text, None)
    if name == "none":
        if inside is not None:
            raise InputError(f"{found}: write none, without brackets.")
        return Identity()
    if name not in kinds():
        close = get_close_matches(name.partition("(")[0].strip(), kinds(), 1)
        meant = f"did you mean {close[0]}? " if close else ""
        known = ", ".join(["none", *map(_form, kinds().values())])
        raise InputError(
            f"{found} is not a degradation; {meant}known are {known}, and several joined by +."
        )
    kind = kinds()[name]
    defaults = kind.options()
    try:
        first, *rest = (inside or "").split(",")
        strength, options = float(first), {}
        for item in rest:
            key, number = item.split("=")
            options[key.strip()] = type(defaults.pop(key.strip()))(number)
    except (KeyError, ValueError):
        raise InputError(f"{found}: write {_form(kind)}, with a number in the brackets.") from None
    return kind(strength, **options)


def _form(kind: type[Kind]) -> str:
    return f"{kind.kind}(STRENGTH{''.join(f', {name}=NUMBER' for name in kind.options())})"
