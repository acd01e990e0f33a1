"""Plain values of a file to dataclasses: types are checked, and messages name the key."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from degradations.errors import InputError
from study.specs.checks import SHOWN, shown, shown_key
from study.specs.yaml_text import read_yaml

# bytes of a text, and of a part between slashes: the limit on a file's name
MOST_TEXT, MOST_PART = 1024, 255
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
SEVERAL = {int: "whole numbers", float: "numbers", bool: "values true or false", str: "texts"}


def typed(type_: Any, value: Any, key: str, said: Any = None) -> Any:
    """A value of a file converted to a type: scalar, choice, optional, tuple or dataclass.

    Tuples come from lists, dataclasses from keys with values. Text in place of another type is read
    as YAML, so quoted numbers are numbers. key: the value's full path, for messages; said: the type
    that they name, if it is another. Raises InputError if the value is of another type, or if a key
    is unknown or missing.
    """
    said = said or type_
    if NoneType in get_args(type_):
        return None if value is None else typed(_of_optional(type_), value, key, type_)
    if get_origin(type_) is Literal:
        return (
            value
            if isinstance(value, str) and value in get_args(type_)
            else reject(said, value, key)
        )
    if type_ is str:
        return _text(value, key)
    found = _plain(value) if isinstance(value, str) else value
    if is_dataclass(type_):
        return _group(type_, found, key) if isinstance(found, dict) else reject(said, value, key)
    if type_ == tuple[str, ...] and isinstance(found, str) and re.fullmatch(r"[\w./-]+", found):
        found = [found]  # a list of one
    if get_origin(type_) is tuple:
        return (
            _tuple(type_, found, key, said) if isinstance(found, list) else reject(said, value, key)
        )
    if get_origin(type_) is dict:
        inner = get_args(type_)[1]
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            reject(said, value, key)
        return {
            name: typed(inner, each, f"{key}.{shown_key(name)}") for name, each in found.items()
        }
    if type_ is float and type(found) in (int, float) and not _too_large(found):
        return float(found)
    return found if type(found) is type_ else reject(said, value, key)


def accepted(type_: Any) -> str:
    """The values that a type accepts, in words."""
    if NoneType in get_args(type_):
        return f"{accepted(_of_optional(type_))}, or null"
    if get_origin(type_) is Literal:
        return ", ".join(get_args(type_))
    if get_origin(type_) is tuple:
        first, last = get_args(type_)
        several = f"entries with {_keys(first)}" if is_dataclass(first) else SEVERAL[first]
        return f"a list of {several if last is ... else f'two {several}'}"
    if get_origin(type_) is dict:
        return f"keys, each with {accepted(get_args(type_)[1])}"
    return _keys(type_) if is_dataclass(type_) else WORDS[type_]


def reject(type_: Any, value: Any, key: str) -> NoReturn:
    """Raises InputError for a value that a type does not accept."""
    raise InputError(f"{key}: found {shown(value)}; accepted: {accepted(type_)}.")


def group_of(type_: Any) -> Any:
    """The dataclass of a type that is a dataclass or an optional one; None for other types."""
    inner = _of_optional(type_) if NoneType in get_args(type_) else type_
    return inner if is_dataclass(inner) else None


@cache
def hints(type_: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    return get_type_hints(type_)


def keys_of(type_: Any, prefix: str = "") -> list[str]:
    """The full paths of the keys of a dataclass and of its nested dataclasses."""
    found = []
    for name, inner in hints(type_).items():
        group = group_of(inner)
        found += [prefix + name, *(keys_of(group, f"{prefix}{name}.") if group else [])]
    return found


def meant(word: str, known: Iterable[str]) -> str:
    """` Did you mean …?` with the nearest known word, or nothing."""
    close = get_close_matches(word[:SHOWN], list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def unknown_key(
    name: str, known: Sequence[str], prefix: str, everywhere: Iterable[str] = ()
) -> str:
    """The advice for an unknown key: the nearest ones, or all at its level.

    Near are keys of the same name elsewhere, otherwise a similar key at its level. prefix: before
    it in its full path.
    """
    options = [each for each in everywhere if each.rsplit(".", 1)[-1] == name]
    options = options or [prefix + each for each in get_close_matches(name[:SHOWN], known, n=1)]
    if options:
        return f"Did you mean {' or '.join(options)}?"
    if name.endswith(")"):  # the end of a name that YAML split at its comma
        return "A name with a comma needs quotes within braces: {rule: 'interval(0.3, 5)'}."
    return f"Accepted: {', '.join(known)}."


def _group(type_: Any, value: dict[str, Any], key: str) -> Any:
    known, prefix = hints(type_), f"{key}." if key else ""
    for name in value:
        if name not in known:
            said = unknown_key(name, list(known), prefix, [] if key else keys_of(type_))
            raise InputError(f"{prefix}{shown_key(name)}: no such key. {said}")
    made = {name: typed(known[name], each, prefix + name) for name, each in value.items()}
    for field in fields(type_):
        if field.name not in made and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(
                f"{prefix}{field.name}: missing; accepted: {accepted(known[field.name])}."
            )
    return type_(**made)


def _tuple(type_: Any, value: list[Any], key: str, said: Any) -> tuple[Any, ...]:
    inside = get_args(type_)
    if inside[-1] is not ... and len(value) != len(inside):
        reject(said, value, key)
    return tuple(typed(inside[0], each, f"{key}[{index}]") for index, each in enumerate(value))


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        quoted = " (in quotes, if it is meant as text)" if isinstance(value, int | float) else ""
        raise InputError(f"{key}: found {shown(value)}; accepted: text{quoted}.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise InputError(f"{key}: found {shown(value)}; accepted: text without control characters.")
    longest = max(len(part.encode()) for part in value.split("/"))
    if len(value.encode()) > MOST_TEXT or longest > MOST_PART:
        raise InputError(
            f"{key}: found {len(value)} characters, {shown(value)}; accepted: {MOST_TEXT} "
            f"bytes, and {MOST_PART} between slashes."
        )
    return value


def _keys(type_: Any) -> str:
    return f"keys with values ({', '.join(hints(type_))})"


def _plain(text: str) -> Any:
    """Text as YAML, or the text itself if it is not YAML.

    Digits are a decimal number, even with leading zeros.
    """
    if re.fullmatch(r"\s*[-+]?\d{1,30}\s*", text, re.ASCII):
        return int(text)
    if text in ("inf", "-inf"):  # as Python prints them; YAML's are .inf and -.inf
        return float(text)
    try:
        return read_yaml(text)
    except InputError:
        return text


def _too_large(value: float) -> bool:
    """Whether a whole number is larger than all floats."""
    try:
        float(value)
    except OverflowError:
        return True
    return False


def _of_optional(type_: Any) -> Any:
    """The type X of an optional type X | None."""
    assert get_origin(type_) in (Union, UnionType)
    return next(each for each in get_args(type_) if each is not NoneType)
