"""Checks of a file from outside before it is read."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from degradations import InputError

# The first bytes of files and their kinds, for messages about files of an unexpected kind.
_BEGINNINGS = (
    (b"PK\x03\x04", "a zip, as .npz files and those of torch.save are"),
    (b"PK\x05\x06", "an empty zip"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"<", "a page of HTML or XML, as a failed download leaves one"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
    (b"{", "JSON"),
)
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def check_regular(path: Path, most: int) -> int:
    """The size of a file in bytes.

    Raises InputError if it is missing, not a regular file, or larger than `most`. A pipe or a
    device could block, or be read without end.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    # the name is too long or contains a zero byte, or a folder is not readable
    except (OSError, ValueError) as error:
        raise InputError(
            f"{ascii(str(path))[1:-1][:300]}: cannot be opened ({_reason(error)})."
        ) from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path}: found a folder; accepted: a file.")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: found a pipe, socket or device; accepted: a regular file.")
    if found.st_size > most:
        raise InputError(f"{path}: found {found.st_size} bytes; accepted: at most {most}.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: cannot be opened (permission denied).")
    return found.st_size


def seems(path: Path) -> str:
    """The kind of a file by its first bytes, for a message."""
    with path.open("rb") as file:
        beginning = file.read(32)
    if not beginning:
        return "an empty file"
    if beginning.startswith(_PICKLES):
        return "a pickle"
    if beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") <= path.stat().st_size:
        return "a safetensors file"
    return next(
        (what for magic, what in _BEGINNINGS if beginning.startswith(magic)),
        "a file of an unknown kind",
    )


def read_json(path: Path, most: int, what: str) -> Any:
    """The value of a JSON file.

    Raises InputError if it is not JSON, with a message that begins with `what`.
    """
    check_regular(path, most)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}: {error.msg}"
    except UnicodeDecodeError:
        why = "its text is not UTF-8"
    except RecursionError:
        why = "it is nested too deep"
    except ValueError:
        why = "it has a number of thousands of digits"
    except OSError as error:
        why = _reason(error)
    raise InputError(f"{path}: {what} ({why}).")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
