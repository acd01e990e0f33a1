"""Places that the user names for what is written."""

import os
from pathlib import Path

from degradations.errors import InputError


def folder(name: str, option: str, writes: bool = True) -> Path:
    """The folder of an option, there or not. Raises InputError where it is, or lies within, a file,
    or cannot be written.

    writes: whether it will be written to.
    """
    path = Path(name)
    try:
        there = next(each for each in (path, *path.resolve().parents) if each.exists())
    # too long, a NUL in it, or behind a folder that may not be looked into
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {name}: {getattr(error, 'strerror', None) or error}.") from None
    if not there.is_dir():
        raise InputError(f"{option} {name}: {there} is a file; a folder is accepted.")
    if writes and not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{option} {name}: no permission to write in {there}.")
    return path


def want_folder(path: Path) -> None:
    """Raises InputError unless the folder of a file that is to be written is there: a misspelt one
    is not made."""
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent} to write it into.")


def report_folder(root: Path, name: str) -> Path:
    """Where the tables and figures of a study are written."""
    return root / "reports" / name
