"""Data sets: named ones, and one's own; a new name is added here, by its import and in DATA."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from degradations import InputError
from study.data.data import Data
from study.data.data_name import FORM, HUB, TORCHVISION, DataName
from study.data.digits import digits
from study.data.fractal import fractal
from study.data.pixels import Pixels
from study.data.prepared import is_kept, prepared

DATA: dict[str, Callable[[], Data]] = {each.__name__: each for each in (digits, fractal)}
CACHE = Path("mlruns/cache")


def is_data(name: str) -> bool:
    """Whether a name is that of a data set, and not just a path to something."""
    return name in DATA or name.startswith((HUB, TORCHVISION)) or "@size=" in name


def is_here(name: str, cache: Path = CACHE) -> bool:
    """Whether a data set can be read without downloading it."""
    if name in DATA:
        return True
    parsed = DataName.parse(name)
    return is_kept(parsed, cache) if parsed.is_published else parsed.path.exists()


@cache
def load_data(name: str, cache: Path = CACHE) -> Data:
    """The data set of a name, read or drawn once.

    name: that of one that ships; a folder of images, a zip or an NPZ; `torchvision:NAME` or
    `hub:ORG/NAME`; options follow, `@size=32`. cache: where what is downloaded and read is kept.
    Raises InputError if there is none, or some of it cannot be used.
    """
    if name in DATA:
        return DATA[name]()
    parsed = DataName.parse(name)
    if not parsed.is_published and not parsed.path.exists():
        near = get_close_matches(name, DATA, n=1)
        meant = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(DATA)}, {FORM}."
        raise InputError(f"data set '{name}': not found; {meant}")
    return prepared(parsed, cache)


__all__ = ["DATA", "Data", "DataName", "Pixels", "is_data", "is_here", "load_data"]
