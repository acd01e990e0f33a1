"""Limits of a pickle, and what the names and values in it may stand for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.files.pickle_machine import Machine

# instructions, each of which can create 100 bytes; a network of 200 tensors has about 40 000
MOST_STEPS = 2**20
OBJECT_BYTES = 400  # of an empty object, which one to three one-byte instructions create
MOST_DEPTH = 100
# values, counted each time they are reached, so that walks over the result are bounded
MOST_PARTS = 2**22
# of a class, module or key, which are compared and joined repeatedly
LONGEST_NAME = 200
SMALL = 2**16  # byte strings up to this size may be used more than once


@dataclass
class Budget:
    """The bytes and instructions left to a file and to the streams inside it."""

    bytes: int  # that may be copied; otherwise a few bytes could be copied again and again
    steps: int = MOST_STEPS


@dataclass(frozen=True, eq=False)
class Call:
    """A function that a file may call, given the machine and the arguments."""

    make: Callable[["Machine", tuple[Any, ...]], Any]


@dataclass(frozen=True, eq=False)
class Class:
    """A class of which a file may make an empty instance."""

    make: Callable[["Machine"], Any]


@dataclass(frozen=True, eq=False)
class Unbuilt:
    """An object whose state comes in a later instruction, and its memo keys until then."""

    build: Callable[[Any], Any]
    keys: list[int] = field(default_factory=list)


def is_name(name: Any) -> bool:
    """Whether a value is a text short enough for a name."""
    return type(name) is str and len(name) <= LONGEST_NAME


def is_key(key: Any) -> bool:
    """Whether a value may be a key of a dict or an entry of a set.

    Accepted are names and small integers.
    """
    # many larger numbers can share a hash
    return is_name(key) or (type(key) is int and abs(key) < 2**31)
