"""NPZ files from outside: array headers are checked, large arrays read in parts."""

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from degradations import InputError
from study.files.zips import open_entry, open_zip, read_into

KINDS = "fiub"  # floats, signed and unsigned integers, booleans
MAGIC = b"\x93NUMPY\1\0"
MOST_TEXT = 4000  # bytes of a text
# Arrays held in memory as float64 take at most this much, or this many times the file's size:
# numbers hardly compress.
LEAST_HELD, HELD_SHARE = 2**26, 2


@dataclass(frozen=True)
class Array:
    """An array of an open file, of which only the header was read.

    No entry of `shape` is negative.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool  # whether it is stored column by column
    file: IO[bytes]
    rejection: "_Rejection"

    @property
    def row_bytes(self) -> int:
        """The bytes of one entry along the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def rows(self, most: int) -> Iterator[npt.NDArray[Any]]:
        """The array in parts of at most `most` entries along its first axis, read one at a time.

        Raises InputError if the file is damaged, at its end at the latest, or if the array is
        stored column by column, so that its rows are not contiguous.
        """
        if self.fortran and len(self.shape) > 1:
            raise self.rejection(
                "is stored column by column (Fortran order); save numpy.ascontiguousarray of it"
            )
        for start in range(0, self.shape[0], most):
            count = min(most, self.shape[0] - start)
            yield self._next((count, *self.shape[1:]), "C")
        self._end()

    def all(self) -> npt.NDArray[Any]:
        """The whole array. Raises InputError if the file is damaged."""
        found = self._next(self.shape, "F" if self.fortran else "C")
        self._end()
        return found

    def _next(self, shape: tuple[int, ...], order: Any) -> npt.NDArray[Any]:
        flat = np.empty(math.prod(shape), self.dtype)
        read_into(self.file, flat.view(np.uint8).data)
        return flat.reshape(shape, order=order)

    def _end(self) -> None:
        if self.file.read(1):  # reading to the end makes zipfile compare the checksum
            raise self.rejection("has further bytes after its end")


class Arrays:
    """The arrays of an NPZ file by name.

    Methods raise InputError, naming file and array, if something is damaged.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        self._held = max(LEAST_HELD, HELD_SHARE * path.stat().st_size)
        self.entries: Mapping[str, zipfile.ZipInfo] = {
            entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()
        }

    @contextmanager
    def open(self, name: str, kinds: str = KINDS) -> Iterator[Array]:
        """An array whose header has been read.

        Raises InputError if its dtype is not of `kinds`; objects are never read.
        """
        entry, rejection = self.entries[name], _Rejection(self.path, name)
        with open_entry(self.path, self._archive, entry) as file:
            shape, fortran, dtype = _header(file, rejection)
            if dtype.kind not in kinds or dtype.hasobject:
                raise rejection(
                    f"is of the type {str(dtype)[:100]}; accepted: {_kinds_in_words(kinds)}"
                )
            if any(type(n) is not int or n < 0 for n in shape):
                raise rejection(f"has the shape {str(shape)[:100]}")
            wanted, found = math.prod(shape) * dtype.itemsize, entry.file_size - file.tell()
            if wanted != found:
                raise rejection(
                    f"has {found} bytes, which is not its shape {str(shape)[:100]} of {dtype}"
                )
            yield Array(name, shape, dtype, fortran, file, rejection)

    def numbers(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.float64]:
        """A whole array of numbers as float64.

        Raises InputError if it has another shape, in which None is any size, or is larger than the
        limit on memory.
        """
        with self.open(name, "fiu") as array:
            sizes = zip(array.shape, shape, strict=False)
            if len(array.shape) != len(shape) or any(
                want not in (have, None) for have, want in sizes
            ):
                wanted = str(shape).replace("None", "any")
                raise array.rejection(f"has shape {array.shape}; accepted: {wanted}")
            if (size := 8 * math.prod(array.shape)) > self._held:
                raise array.rejection(
                    f"takes {size} bytes of memory; accepted: at most {self._held} for this file"
                )
            return array.all().astype(np.float64, copy=False)

    def text(self, name: str) -> str:
        """A text. Raises InputError if the array is not a text or is too long."""
        with self.open(name, "U") as array:
            if array.shape != () or array.dtype.itemsize > MOST_TEXT:
                raise array.rejection(f"is not a text of at most {MOST_TEXT // 4} letters")
            return str(array.all())


@contextmanager
def open_npz(path: Path) -> Iterator[Arrays]:
    """The arrays of an NPZ file, never unpickled. Raises InputError if it is not an NPZ file."""
    with open_zip(path, "NPZ file") as archive:
        yield Arrays(path, archive)


@dataclass(frozen=True)
class _Rejection:
    path: Path
    name: str

    def __call__(self, why: str) -> InputError:
        return InputError(f"{self.path}: the array '{self.name}' {why}.")


def _header(file: IO[bytes], rejection: _Rejection) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether stored column by column, and dtype.

    NumPy writes version 1.0 for arrays of numbers; headers of later versions can have any length.
    """
    magic, length = file.read(len(MAGIC)), file.read(2)
    header = io.BytesIO(length + file.read(int.from_bytes(length, "little")))
    try:
        if magic != MAGIC:
            raise ValueError
        return npy.read_array_header_1_0(header)
    except Exception:  # its texts advise trusting the file
        raise rejection(
            "does not begin as an array of numbers in NumPy's format 1.0 does"
        ) from None


def _kinds_in_words(kinds: str) -> str:
    return "text" if kinds == "U" else "floats and integers"
