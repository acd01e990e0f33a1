"""Zips from outside: declared sizes are checked and unpacked sizes bounded before reading."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from degradations import InputError
from study.files.regular import check_regular, seems

MOST_BYTES = 2**40
# Python's reader takes about 800 bytes for each entry of a zip's directory, which takes at least
# 46 in the file.
LEAST_DIRECTORY, DIRECTORY_SHARE = 2**23, 16
# Weights and images hardly compress: an entry that unpacks to more than this, and to more than
# this many times its size, contains neither.
LEAST_UNPACKED, MOST_RATIO = 2**24, 2
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
BLOCK = 2**20


@contextmanager
def open_zip(path: Path, what: str = "zip") -> Iterator[zipfile.ZipFile]:
    """A zip open for reading; what: the name of its format in messages.

    Raises InputError if it is not a zip, or its directory is out of proportion to the file.
    """
    size = check_regular(path, MOST_BYTES)
    with path.open("rb") as file:
        reader = _BoundedReader(file, LEAST_DIRECTORY + size // DIRECTORY_SHARE)
        try:
            archive = zipfile.ZipFile(reader)
        except _TooLarge:
            raise InputError(
                f"{path}: its directory of entries is out of proportion to its {size} "
                f"bytes; at most {reader.most} bytes of it are read."
            ) from None
        except Exception as error:  # a damaged directory can cause any error
            but = "" if seems(path).startswith("a zip") else f", but {seems(path)}"
            raise InputError(f"{path}: not a complete {what}{but} ({str(error)[:200]}).") from None
        reader.allow(size)
        with archive:
            yield archive


@contextmanager
def open_entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """An entry of a zip, unpacked as it is read, to no more than its directory declares.

    Its CRC is checked at its end. Raises InputError, naming the entry, if it is encrypted,
    compressed by another method than deflate, or damaged.
    """
    name = entry_name(path, entry)
    if entry.flag_bits & ENCRYPTED:
        raise InputError(f"{name} is encrypted; accepted: entries that are not.")
    if entry.compress_type not in METHODS:
        raise InputError(
            f"{name} is compressed by method {entry.compress_type}; accepted: stored (0) and "
            "deflated (8)."
        )
    try:
        with archive.open(entry) as unpacked:
            yield unpacked
    except InputError:
        raise
    except Exception as error:  # as above
        raise InputError(f"{name} cannot be unpacked ({str(error)[:200]}).") from None


def read_entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """The whole content of an entry.

    Raises InputError as `open_entry` does, and if the entry has more than `most` bytes or is large
    and compressed to a small part of its size.
    """
    if entry.file_size > most:
        raise InputError(
            f"{entry_name(path, entry)} unpacks to {entry.file_size} bytes; at most {most} are "
            "read."
        )
    if entry.file_size > max(LEAST_UNPACKED, MOST_RATIO * entry.compress_size):
        raise InputError(
            f"{entry_name(path, entry)} unpacks to {entry.file_size} bytes, more than {MOST_RATIO} "
            f"times its size in the zip, {entry.compress_size}."
        )
    with open_entry(path, archive, entry) as unpacked:
        # In blocks: asked for everything at once, Python's reader unpacks more than is declared.
        content = b"".join(iter(lambda: unpacked.read(BLOCK), b""))
        if len(content) != entry.file_size:
            raise EOFError(f"ends after {len(content)} of {entry.file_size} bytes")
        return content


def read_into(file: IO[bytes], buffer: memoryview) -> None:
    """Fill a buffer of bytes from a file. Raises EOFError if the file has fewer."""
    filled = 0
    while filled < len(buffer):
        block = file.read(min(BLOCK, len(buffer) - filled))
        if not block:
            raise EOFError(f"ends after {filled} of {len(buffer)} bytes")
        buffer[filled : filled + len(block)] = block
        filled += len(block)


def entry_name(path: Path, entry: zipfile.ZipInfo) -> str:
    """The path and name of an entry, as messages show them."""
    name = entry.filename
    return f"{path}: {name if name.isprintable() and len(name) <= 200 else ascii(name[:200])}"


class _TooLarge(Exception):
    pass


class _BoundedReader:
    """A file that gives at most a number of bytes at once.

    A zip's directory is read at once, before anything else.
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self.most = file, most
        self.seek, self.tell, self.seekable, self.close = (
            file.seek,
            file.tell,
            file.seekable,
            file.close,
        )

    def allow(self, most: int) -> None:
        """Give at most so many bytes at once from now on."""
        self.most = most

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise _TooLarge
        return self._file.read(self.most if size < 0 else size)
