"""Files that are there whole or not at all."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".part-"  # how the names of unfinished files begin


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends well and removed when it
    does not.

    The temporary name keeps the suffix, by which many writers choose the format; the file is locked
    for as long as its writer lives, by which `sweep` knows those of killed ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = _begun(path)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def _begun(path: Path) -> tuple[int, Path]:
    """An empty, locked file beside a path."""
    while True:
        handle, name = tempfile.mkstemp(prefix=PART, suffix=path.suffix, dir=path.parent)
        with suppress(OSError):  # a file system without locks; there nothing is swept either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else it was swept before it was locked
            return handle, Path(name)
        os.close(handle)


def sweep(root: Path) -> None:
    """Remove the unfinished files that killed writers left under a folder."""
    # a database before its journal, which is nobody's without it
    for part in sorted(root.rglob(f"{PART}*")):
        if part.with_name(part.name.rpartition("-")[0]).exists():
            continue
        with suppress(OSError), part.open("rb") as file:  # locked, or gone by now
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
