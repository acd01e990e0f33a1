"""Degradations by name."""

from functools import lru_cache

from degradations.composition import Composition
from degradations.degradation import Degradation, Kind
from degradations.errors import InputError
from degradations.identity import Identity
from degradations.mixture import Mixture
from degradations.named import named, read, split_parts


def kinds() -> dict[str, type[Kind]]:
    """Every kind, by its name, in alphabetical order."""
    return named(Kind)


@lru_cache(maxsize=2**16)  # of names, which a study of many pairings asks for repeatedly
def parse(text: str) -> Degradation:
    """The degradation of a name, such as `none`, `dropout(0.2)` or `dropout(0.05)+noise(0.1)`.

    Options are written as in `weight-noise(0.1, seed=1)`; several guides at once as in
    `dropout(0.4) & noise(0.4)`, with shares `0.6*dropout(0.4) & 0.4*noise(0.4)`. Raises InputError
    if the text is not such a name.
    """
    mixed = text.split("&")
    if len(mixed) > 1:
        terms = [_term(each, text) for each in mixed]
        return Mixture.of([part for _, part in terms], [share for share, _ in terms])
    parts = split_parts(text)
    if len(parts) == 1:
        return _part(text, f"'{text}'")
    return Composition(tuple(_part(part, f"'{part.strip()}' in '{text}'") for part in parts))


def _term(text: str, whole: str) -> tuple[float | None, Degradation]:
    """The share of a term of a mixture, if it has one, and its degradation."""
    share, star, name = text.rpartition("*")
    try:
        number = float(share) if star else None
    except ValueError:
        raise InputError(
            f"'{share.strip()}' in '{whole}' is not a number; accepted: shares, as in "
            "0.6*dropout(0.4) & 0.4*noise(0.4)."
        ) from None
    return number, parse(name.strip())


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
