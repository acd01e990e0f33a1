"""Atomic writes of files."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".part-"  # prefix of the names of unfinished files


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: renamed to it if the block succeeds, else removed.

    The temporary name keeps the suffix, by which many writers choose the format; the file is locked
    while its writer runs, so that `sweep` recognises the files of killed writers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = _begun(path)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # mkstemp creates files that only their owner can read
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def _begun(path: Path) -> tuple[int, Path]:
    """A new, locked, empty file beside a path."""
    while True:
        handle, name = tempfile.mkstemp(prefix=PART, suffix=path.suffix, dir=path.parent)
        with suppress(OSError):  # a file system without locks, where sweep removes nothing
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # otherwise it was swept before it was locked
            return handle, Path(name)
        os.close(handle)


def sweep(root: Path) -> None:
    """Remove the unfinished files that killed writers left under a folder."""
    # a database comes before its journal, which is removed only without its database
    for part in sorted(root.rglob(f"{PART}*")):
        if part.with_name(part.name.rpartition("-")[0]).exists():
            continue
        with suppress(OSError), part.open("rb") as file:  # locked, or already removed
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
