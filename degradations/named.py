"""Small frozen objects with a name that can be read back: degradations and rules."""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from degradations.errors import InputError

T = TypeVar("T", bound="Named")


@dataclass(frozen=True)
class Named:
    """An object of numbers, named `kind(number, …, option=number, …)`.

    Fields without a default come first and are written by position; fields with a default are
    options, written if they differ from it. Without numbers the name is `kind` alone. Raises
    InputError if an option is not a finite number of its default's type.

    several: a field that holds any number of numbers, written by position after the others, and how
    `form` shows them; None if there is none.
    """

    kind: ClassVar[str]
    several: ClassVar[tuple[str, str] | None] = None

    def __post_init__(self) -> None:
        for name, default in self.options().items():
            found = getattr(self, name)
            option = type(default)(found)
            if option != found or not abs(option) < math.inf:
                raise InputError(
                    f"{self}: found {name}={found}; accepted: a finite {type(default).__name__}."
                )
            object.__setattr__(self, name, option)

    def __str__(self) -> str:
        numbers = [shortest(getattr(self, name)) for name in self.positional()]
        numbers += map(shortest, getattr(self, self.several[0]) if self.several else ())
        numbers += [
            f"{name}={shortest(getattr(self, name))}"
            for name, default in self.options().items()
            if getattr(self, name) != default
        ]
        return f"{self.kind}({', '.join(numbers)})" if numbers else self.kind

    @classmethod
    def positional(cls) -> list[str]:
        """The names of the fields without a default that hold one number each."""
        own = [field.name for field in fields(cls) if field.default is MISSING]
        return [name for name in own if cls.several is None or name != cls.several[0]]

    @classmethod
    def options(cls) -> dict[str, Any]:
        """The names of the fields with a default, and the defaults."""
        return {field.name: field.default for field in fields(cls) if field.default is not MISSING}

    @classmethod
    def form(cls) -> str:
        """The form of the name: `weight-noise(STRENGTH, seed=NUMBER)`."""
        numbers = [name.upper() for name in cls.positional()]
        numbers += [cls.several[1]] if cls.several else []
        numbers += [f"{name}=NUMBER" for name in cls.options()]
        return f"{cls.kind}({', '.join(numbers)})" if numbers else cls.kind


def named(family: Any) -> dict[str, Any]:
    """The classes of a family that have a name, by it, in alphabetical order."""
    found = {}
    left = family.__subclasses__()
    for each in left:
        left += each.__subclasses__()
        if "kind" in vars(each):
            found[each.kind] = each
    return dict(sorted(found.items()))


def shortest(number: float) -> str:
    """The shortest text that reads back as the same number: 0.2, 4, 1e-05, inf."""
    return repr(number).removesuffix(".0")


def split_parts(text: str) -> list[str]:
    """The parts of `a(1)+b(2)`, split at each + outside brackets, not inside, as in 1e+3."""
    return re.split(r"\+(?![^(]*\))", text)


def read(text: str, known: Mapping[str, type[T]], found: str, what: str) -> T:
    """The object of a name, one of the known classes by their kinds.

    found: the name as messages show it; what: what it should name. Raises InputError if the name is
    not one of these.
    """
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(([^()]*)\)\s*)?", text)
    name, inside = match.groups() if match else (text, None)
    if name not in known:
        close = get_close_matches(name.partition("(")[0].strip(), known, 1)
        meant = f"did you mean {close[0]}? " if close else ""
        forms = ", ".join(each.form() for each in known.values())
        raise InputError(f"{found} is not {what}; {meant}accepted: {forms}.")
    made = known[name]
    positional, defaults = made.positional(), made.options()
    try:
        items = inside.split(",") if inside is not None and (inside.strip() or positional) else []
        if len(items) < len(positional) or (inside is not None and not items):
            raise ValueError
        numbers: dict[str, Any] = {
            key: float(item) for key, item in zip(positional, items, strict=False)
        }
        rest = items[len(positional) :]
        if made.several:
            numbers[made.several[0]] = tuple(float(item) for item in rest if "=" not in item)
            rest = [item for item in rest if "=" in item]
            if not numbers[made.several[0]]:
                raise ValueError
        for item in rest:
            key, number = item.split("=")
            numbers[key.strip()] = type(defaults.pop(key.strip()))(number)
    except (KeyError, ValueError):
        has_numbers = positional or made.several or made.options()
        wanted = ", with numbers in the brackets" if has_numbers else ""
        raise InputError(f"{found}: write {made.form()}{wanted}.") from None
    return made(**numbers)
