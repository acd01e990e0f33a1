"""Data sets."""

from collections.abc import Callable
from functools import cache

from degradations import InputError
from study.data.data import Data
from study.data.digits import digits
from study.data.fractal import fractal

DATA: dict[str, Callable[[], Data]] = {"digits": digits, "fractal": fractal}


@cache
def load_data(name: str) -> Data:
    """The data set of a name, read or drawn once. Raises InputError if the name is unknown."""
    if name not in DATA:
        raise InputError(f"data set: found '{name}'; accepted: {', '.join(sorted(DATA))}.")
    return DATA[name]()


__all__ = ["DATA", "Data", "load_data"]
