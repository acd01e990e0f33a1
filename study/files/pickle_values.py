"""Limits of a pickle, and what the names and values in it may stand for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.files.pickle_machine import Machine

# instructions, each of which can leave 100 bytes; a network of 200 tensors takes some 40 000
MOST_STEPS = 2**20
OBJECT_BYTES = 400  # of an empty object, which one instruction to three make of as many bytes
MOST_DEPTH = 100
# values, counting one as often as it is reached, so that no walk over the result takes for ever
MOST_PARTS = 2**22
# of a class, a module, a key: what is compared or joined again and again is short
LONGEST_NAME = 200
SMALL = 2**16  # bytes that may be used more than once


@dataclass
class Budget:
    """What is left to a file and to the streams inside it."""

    bytes: int  # to be copied: a few bytes of a file could otherwise be copied again and again
    steps: int = MOST_STEPS


@dataclass(frozen=True, eq=False)
class Call:
    """What a file may call, given the machine and the arguments."""

    make: Callable[["Machine", tuple[Any, ...]], Any]


@dataclass(frozen=True, eq=False)
class Class:
    """What a file may make an empty instance of."""

    make: Callable[["Machine"], Any]


@dataclass(frozen=True, eq=False)
class Unbuilt:
    """An object whose state comes in a later instruction, and where it is remembered until then."""

    build: Callable[[Any], Any]
    keys: list[int] = field(default_factory=list)


def is_name(name: Any) -> bool:
    """Whether this is a text short enough for a name."""
    return type(name) is str and len(name) <= LONGEST_NAME


def is_key(key: Any) -> bool:
    """Whether this may be a key of a dict or an entry of a set: a name, or a number that is not
    large."""
    # of larger numbers many can share a hash
    return is_name(key) or (type(key) is int and abs(key) < 2**31)
