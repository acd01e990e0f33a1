"""Folders that the user names for output."""

import os
from importlib import metadata
from pathlib import Path

from degradations.errors import InputError


def folder(name: str, option: str, writes: bool = True) -> Path:
    """The folder that an option names, whether it exists or not.

    Raises InputError if it is a file, lies within one, or cannot be written. writes: whether it
    will be written to.
    """
    path = Path(name)
    try:
        there = next(each for each in (path, *path.resolve().parents) if each.exists())
    # the name is too long or contains a NUL, or a folder above it is not readable
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {name}: {getattr(error, 'strerror', None) or error}.") from None
    if not there.is_dir():
        raise InputError(f"{option} {name}: {there} is a file; accepted: a folder.")
    if writes and not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{option} {name}: no permission to write in {there}.")
    return path


def require_folder(path: Path) -> None:
    """Raises InputError unless the folder of a file to be written exists.

    It is not created, since its name may be misspelt.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first.")


def report_folder(root: Path, name: str) -> Path:
    """The folder of the tables and figures of a study."""
    return root / "reports" / name


def shipped_configs() -> list[Path]:
    """The configs of a checkout or of an installed wheel."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return sorted((checkout / "configs").glob("*.yaml"))
    try:
        files = metadata.files("degradation-study") or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(Path(str(each.locate())) for each in files if each.parent.name == "configs")
