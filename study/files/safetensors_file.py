"""Safetensors files from outside, read within bounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from degradations import InputError
from study.files.regular import check_regular, seems

MOST_BYTES = 64 * 2**30
MOST_HEADER = 2**22  # bytes; those of the largest networks have some hundred thousand


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """The tensors of a file by `keys()`, `get_slice` and `get_tensor`.

    Raises InputError, naming the file, if it is missing, too large, damaged or of another kind.
    """
    size = check_regular(path, MOST_BYTES)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if MOST_HEADER < length <= size - 8:
            raise InputError(
                f"{path}: found a header of {length} bytes; accepted: at most {MOST_HEADER}."
            )
        with safe_open(path, "pt") as found:
            yield found
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        kind = seems(path)
        but = "" if kind == "a safetensors file" else f", but {kind}"
        raise InputError(
            f"{path}: not a complete safetensors file{but} ({str(error)[:200]})."
        ) from None
