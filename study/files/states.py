"""State dicts of PyTorch, as torch.save writes them, read without executing anything in them.

PyTorch's own weights-only reader still creates objects of any size that a few bytes request, and
unpacks compressed entries. Here the pickle is interpreted by the Machine that reads public pickles,
and each storage is read at the size that it has in the file.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degradations import InputError
from study.files.pickle_machine import Machine
from study.files.pickle_values import Budget
from study.files.regular import check_regular, seems
from study.files.tensors import STORAGES, TENSORS, Storage, declared, stream
from study.files.zips import open_entry, open_zip, read_entry, read_into

MOST_BYTES = 64 * 2**30
ACCEPTED = "accepted: a state dict, tensors by name, as torch.save(model.state_dict(), …) writes it"
# the first is in every file of torch.save, the second only in a TorchScript
PICKLE, SCRIPT = "data.pkl", "constants.pkl"


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, from a file of torch.save, a zip or the older format.

    Nothing in the file is executed or imported, and reading takes no more memory than the file has
    bytes. Raises InputError, naming the file, if it is missing, damaged or of another kind.
    """
    size = check_regular(path, MOST_BYTES)
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                return _checked(path, _of_zip(path, size))
            file.seek(0)
            if file.read(1) == b"\x80":
                file.seek(0)
                return _checked(
                    path, stream(path, file, size, _budget(size), (STORAGES | TENSORS).get)
                )
    except InputError as error:
        raise InputError(f"{str(error).removesuffix('.')}; {ACCEPTED}.") from None
    # damage can cause any error; the checks report what they recognise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"[:200]
        raise InputError(
            f"{path}: not a complete file of torch.save ({why}); {ACCEPTED}."
        ) from None
    raise InputError(f"{path}: found {seems(path)}, not a file of torch.save; {ACCEPTED}.")


def _of_zip(path: Path, size: int) -> Any:
    with open_zip(path, "file of torch.save") as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        roots = [
            name.removesuffix(PICKLE)
            for name in entries
            if name.endswith(f"/{PICKLE}") and name.count("/") == 1
        ]
        if len(roots) != 1:
            raise InputError(f"{path}: a zip, but not a file of torch.save.")
        (root,) = roots
        if root + SCRIPT in entries:
            raise InputError(f"{path}: found a TorchScript, a program, which is not executed.")
        _check_sizes(path, entries.values(), size)
        order = entries.get(f"{root}byteorder")
        if order is not None and read_entry(path, archive, order, 100) != b"little":
            raise InputError(f"{path}: its byte order is not 'little'.")
        content = read_entry(path, archive, entries[root + PICKLE], size)
        storages: dict[str, Storage] = {}

        def storage(about: Any) -> Storage:
            machine.expect(type(about) is tuple and len(about) == 5, "a storage")
            key, dtype, count = declared(machine, about)
            entry = entries.get(f"{root}data/{key}")
            good = entry is not None and entry.file_size == count * dtype.itemsize
            machine.expect(
                good, f"a storage '{key}' of other than {entry.file_size if entry else 0} bytes"
            )
            if key not in storages:
                assert entry is not None
                storages[key] = Storage(torch.empty(count, dtype=dtype))
                with open_entry(path, archive, entry) as file:
                    read_into(file, storages[key].bytes)
                storages[key].check(machine)
            machine.expect(storages[key].flat.dtype == dtype, "a storage")
            return storages[key]

        known: Callable[[Any], Any] = (STORAGES | TENSORS).get
        machine = Machine(path, io.BytesIO(content), len(content), _budget(size), known, storage)
        return machine.run()


def _check_sizes(path: Path, entries: Any, size: int) -> None:
    """Raises InputError if entries are compressed or take more bytes than the file has.

    PyTorch writes no such files.
    """
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise InputError(
                f"{path}: its entry {ascii(entry.filename)[:100]} is compressed, which PyTorch's "
                "files never are."
            )
    if (total := sum(entry.file_size for entry in entries)) > size:
        raise InputError(f"{path}: its entries have {total} bytes together, the file has {size}.")


def _checked(path: Path, value: Any) -> dict[str, Tensor]:
    if type(value) is not dict:
        raise InputError(f"{path}: holds a {type(value).__name__}.")
    for name, tensor in value.items():
        if type(name) is not str:
            raise InputError(f"{path}: its key {ascii(name)[:100]} is not a name.")
        if type(tensor) is not Tensor:
            raise InputError(
                f"{path}: under {ascii(name)[:100]} it holds a {type(tensor).__name__}, not a "
                "tensor."
            )
    return value


def _budget(size: int) -> Budget:
    return Budget(3 * size + 2**20)
