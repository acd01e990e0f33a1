"""Pickles of public networks and statistics, read without executing anything in them.

A pickle is a program, and these come from the internet. None of its instructions therefore reaches
Python's own unpickler: the few that such files need are interpreted by a Machine, on plain values.
Names in a file are looked up in a table here and never imported; an object of any class becomes a
Record, and code in the file stays text.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from degradations import InputError
from study.files.pickle_machine import Machine
from study.files.pickle_values import Budget, Call, Class, Unbuilt, is_key, is_name
from study.files.regular import check_regular, seems
from study.files.tensors import DTYPES, STORAGES, TENSORS, Storage, count_entries, is_finite, stream

MOST_BYTES = 32 * 2**30
MOST_NAMES = 2**16  # modules and tensors of a network

NUMPY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
LEAVES = (type(None), bool, int, float, str, bytes, Tensor, np.ndarray, torch.dtype)


@dataclass(frozen=True, eq=False)
class Record:
    """An object of a class that is not instantiated: the name of its class and its state."""

    name: str
    state: Mapping[str, Any] = field(repr=False)


def load(path: Path) -> Any:
    """The content of a pickle: plain values, tensors, NumPy arrays and Records.

    Nothing in the file is executed or imported. Dicts of any kind become dicts, parameters tensors,
    NumPy's scalars numbers, devices strings. Raises InputError, naming the file, if it is missing,
    damaged, too large, or contains anything other than such values.
    """
    size = check_regular(path, MOST_BYTES)
    try:
        with path.open("rb") as file:
            if file.read(1) != b"\x80":
                raise InputError(
                    f"{path}: found {seems(path)}; accepted: a pickle of protocols 2 to 5."
                )
            file.seek(0)
            machine = Machine(path, file, size, Budget(3 * size + 2**20), _meaning)
            value = machine.run()
        if machine.left:
            raise machine.rejection(f"has {machine.left} further bytes after its end")
        machine.check(value, _inside)
        return value
    except InputError:
        raise
    # damage can cause any error; the checks below report what they recognise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"[:200]
        raise InputError(f"{path}: not a complete pickle of a supported kind ({why}).") from None


def tensors(record: Record) -> dict[str, Tensor]:
    """All parameters and buffers of a module by dotted name, as its state_dict would have them.

    Buffers that are None, or that the module does not keep, are left out. Raises InputError, naming
    the tensor, if one is not finite, and if the record is not a module or is nested without end.
    """
    found: dict[str, Tensor] = {}
    finite: set[int] = set()
    todo = [("", record)]
    count = 0
    while todo:
        prefix, module = todo.pop()
        children: list[tuple[str, Record]] = []
        for name, value in _members(module, prefix):
            count += 1
            if count > MOST_NAMES or len(prefix) > 1000:
                raise InputError(
                    f"{record.name}: more than {MOST_NAMES} modules and tensors, or nested without "
                    "end."
                )
            if not is_name(name) or not name or "." in name or prefix + name in found:
                raise InputError(
                    f"{record.name}: {ascii(name)[:100]} in '{prefix}' is not a name of a module "
                    "or tensor."
                )
            if isinstance(value, Record):
                children.append((f"{prefix}{name}.", value))
            elif value is not None:
                if id(value) not in finite and not is_finite(value):
                    raise InputError(
                        f"{record.name}: '{prefix}{name}' has entries that are not finite."
                    )
                finite.add(id(value))
                found[prefix + name] = value
        todo += reversed(children)
    return found


def _members(module: Record, prefix: str) -> Iterator[tuple[Any, Any]]:
    """The names of a module's parameters, buffers and modules, with a Tensor, a Record or None."""
    groups: dict[str, Any] = {
        key: module.state.get(key) for key in ("_parameters", "_buffers", "_modules")
    }
    dropped = module.state.get("_non_persistent_buffers_set", set())
    if type(dropped) is not set or not all(type(group) is dict for group in groups.values()):
        raise InputError(
            f"'{prefix.rstrip('.')}' ({module.name}) is not a module: no parameters, buffers and "
            "modules."
        )
    for key, group in groups.items():
        for name, value in group.items():
            if type(value) not in (type(None), Record if key == "_modules" else Tensor):
                raise InputError(
                    f"'{prefix}{name}' ({module.name}) is a {type(value).__name__}, in {key}."
                )
            yield name, None if key == "_buffers" and name in dropped else value


def _record(machine: Machine, name: str, state: Any) -> Record:
    # its keys are checked once, at the end
    machine.expect(type(state) is dict, f"the state of {name}")
    return Record(name, state)


def _persistent(machine: Machine, arguments: tuple[Any, ...]) -> Record:
    (meta,) = arguments
    machine.expect(type(meta) is dict, "a persistent object")
    kind, version, source, name = (
        meta.get(key) for key in ("type", "version", "module_src", "class_name")
    )
    machine.expect(
        kind == "class" and type(version) is int and version == 6,
        "a persistent object of another version",
    )
    machine.expect(
        type(source) is str and is_name(name) and name.isidentifier(), "a persistent object"
    )
    return _record(machine, name, meta.get("state"))


def _storage(machine: Machine, arguments: tuple[Any, ...]) -> Storage:
    """A storage that torch.save wrote by itself."""
    (content,) = arguments
    machine.expect(type(content) is bytes, "a storage")
    machine.charge(len(content))
    found = stream(machine.path, io.BytesIO(content), len(content), machine.budget, STORAGES.get)
    machine.expect(type(found) is Storage, "a storage")
    return found


def _easy_dict(machine: Machine) -> dict[Any, Any]:
    return {}


def _encode(machine: Machine, arguments: tuple[Any, ...]) -> bytes:
    text, encoding = arguments  # protocol 2 writes bytes so
    machine.expect(type(text) is str and encoding == "latin1", "bytes")
    machine.charge(len(text))
    return bytes(text.encode("latin1"))


def _device(machine: Machine, arguments: tuple[Any, ...]) -> str:
    machine.expect(len(arguments) <= 2 and all(map(is_key, arguments)), "a device")
    return ":".join(map(str, arguments))


def _dtype(machine: Machine, arguments: tuple[Any, ...]) -> np.dtype[Any]:
    machine.expect(type(arguments[0]) is str and arguments[0] in NUMPY_DTYPES, "a dtype of NumPy")
    return np.dtype("<" + arguments[0])


def _array(
    machine: Machine, content: Any, dtype: Any, shape: Any, order: Any = "C", axes: Any = None
) -> Any:
    machine.expect(type(content) is bytes and isinstance(dtype, np.dtype), "an array")
    machine.expect(
        order in ("C", "F", "K") and (axes is None or type(axes) is tuple), "the order of an array"
    )
    count = count_entries(machine, shape, len(content) // dtype.itemsize)
    machine.expect(
        count * dtype.itemsize == len(content), f"an array {shape} of {len(content)} bytes"
    )
    machine.charge(len(content))
    flat = np.array(memoryview(content))
    machine.expect(dtype != np.bool_ or not (flat > 1).any(), "booleans")
    array = flat.view(dtype).reshape(shape, order="F" if order == "F" else "C")
    return array if axes is None else array.transpose(axes)


def _unbuilt_array(machine: Machine, arguments: tuple[Any, ...]) -> Unbuilt:
    machine.expect(len(arguments) == 3 and arguments[:2] == (_NDARRAY, (0,)), "an array")

    def build(state: Any) -> Any:
        _, shape, dtype, fortran, content = state
        return _array(machine, content, dtype, shape, "F" if fortran else "C")

    return Unbuilt(build)


def _scalar(machine: Machine, arguments: tuple[Any, ...]) -> Any:
    dtype, content = arguments
    return _array(machine, content, dtype, ()).item()


_NDARRAY = object()
_KNOWN: dict[tuple[str, str], Any] = {
    **TENSORS,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Call(_persistent),
    ("dnnlib.util", "EasyDict"): Class(_easy_dict),
    ("_codecs", "encode"): Call(_encode),
    ("torch.storage", "_load_from_bytes"): Call(_storage),
    ("torch", "device"): Call(_device),
    ("numpy", "dtype"): Call(_dtype),
    ("numpy", "ndarray"): _NDARRAY,
}
_KNOWN.update({("torch", str(dtype).removeprefix("torch.")): dtype for dtype in DTYPES.values()})
for _module in ("numpy.core", "numpy._core"):  # as NumPy 1 and 2 call it
    _KNOWN[f"{_module}.multiarray", "_reconstruct"] = Call(_unbuilt_array)
    _KNOWN[f"{_module}.multiarray", "scalar"] = Call(_scalar)
    _KNOWN[f"{_module}.numeric", "_frombuffer"] = Call(
        lambda machine, arguments: _array(machine, *arguments)
    )


def _meaning(name: tuple[str, str]) -> Any:
    """The meaning of a module and a name in it, None if it is not supported."""
    full = ".".join(name)
    if name[0].startswith("torch.nn.modules.") and full.replace(".", "").isidentifier():
        return Class(lambda machine: Unbuilt(lambda state: _record(machine, full, state)))
    return _KNOWN.get(name)


def _inside(machine: Machine, value: Any) -> list[Any]:
    kind = type(value)
    if kind is Record:
        machine.charge(len(value.state))  # several records may share it
        machine.expect(all(map(is_name, value.state)), f"the state of {value.name}")
        return [value.state]
    if kind in (dict, list, tuple):
        return list(value.values() if kind is dict else value)
    plain = kind in LEAVES or kind is set or isinstance(value, np.dtype)
    machine.expect(plain, "a class, a call or a part of an object, as a value")
    return []
