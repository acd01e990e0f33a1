"""Data sets by name; a new one is added here, by its import and in DATA."""

from collections.abc import Callable
from functools import cache

from degradations import InputError
from study.data.data import Data
from study.data.digits import digits
from study.data.fractal import fractal

DATA: dict[str, Callable[[], Data]] = {each.__name__: each for each in (digits, fractal)}


@cache
def load_data(name: str) -> Data:
    """The data set of a name, read or drawn once. Raises InputError if the name is unknown."""
    if name not in DATA:
        raise InputError(f"data set: found '{name}'; accepted: {', '.join(sorted(DATA))}.")
    return DATA[name]()


__all__ = ["DATA", "Data", "load_data"]
