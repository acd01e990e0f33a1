"""Tensors in PyTorch's pickles: the declarations of storages, tensors and parameters, checked."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.files.pickle_machine import Machine
from study.files.pickle_values import OBJECT_BYTES, Budget, Call, is_name

MOST_DIMS = 16
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
STORAGES: dict[tuple[str, str], Any] = {("torch", name): dtype for name, dtype in DTYPES.items()}


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers of one type, [n], in which tensors are stored."""

    flat: Tensor

    @property
    def bytes(self) -> memoryview:
        return self.flat.view(torch.uint8).numpy().data

    def check(self, machine: Machine) -> None:
        """Raises InputError for booleans that are neither 0 nor 1."""
        machine.expect(
            self.flat.dtype != torch.bool or not (self.flat.view(torch.uint8) > 1).any(), "booleans"
        )


def stream(
    path: Path, file: io.BufferedIOBase, size: int, budget: Budget, known: Callable[[Any], Any]
) -> Any:
    """The value in the format that torch.save wrote before zips.

    Five pickles, the fourth of which is the value, then the numbers of each storage. Memory is
    taken for no more numbers than the rest of the file has. Raises InputError, naming the path, if
    the file has another form.
    """
    storages: dict[str, Storage] = {}
    total = 0

    def storage(about: Any) -> Storage:
        machine.expect(type(about) is tuple and len(about) == 6 and about[5] is None, "a storage")
        key, dtype, count = declared(machine, about[:5])
        if key not in storages:
            nonlocal total
            total += 8 + count * dtype.itemsize
            fits(total <= machine.left)
            storages[key] = Storage(torch.empty(count, dtype=dtype))
        machine.expect(
            storages[key].flat.dtype == dtype and len(storages[key].flat) == count, "a storage"
        )
        return storages[key]

    def fits(good: bool) -> None:
        if not good:
            raise machine.rejection(
                f"a storage that does not have the {machine.left} bytes that follow"
            )

    machine = Machine(path, file, size, budget, known, storage)
    magic, version, system = (machine.run() for _ in range(3))
    machine.expect((magic, version) == (MAGIC, PROTOCOL), "a storage of another version")
    machine.expect(
        type(system) is dict and system.get("little_endian") is True,
        "a storage of another byte order",
    )
    value, keys = machine.run(), machine.run()
    good = type(keys) is list and all(map(is_name, keys)) and sorted(keys) == sorted(storages)
    machine.expect(good, "a storage")
    fits(machine.left == total)
    for each in map(storages.__getitem__, keys):
        fits(machine.number("<q") == len(each.flat))
        machine.fill(each.bytes)
        each.check(machine)
    return value


def declared(machine: Machine, about: Any) -> tuple[str, torch.dtype, int]:
    """Key, dtype and length of a storage from its ('storage', type, key, device, count)."""
    kind, dtype, key, device, count = about
    machine.expect(
        kind == "storage" and type(dtype) is torch.dtype and is_name(key) and is_name(device),
        "a storage",
    )
    machine.expect(type(count) is int and 0 <= count < 2**48, "a storage")
    return key, dtype, count


def count_entries(machine: Machine, sizes: Any, most: int) -> int:
    """The number of entries of a shape, at most `most`; a 0 among the sizes hides no huge ones."""
    good = (
        type(sizes) is tuple
        and len(sizes) <= MOST_DIMS
        and all(type(n) is int and n >= 0 for n in sizes)
    )
    machine.expect(good, "a shape")
    good = math.prod(sizes) <= most and math.prod(max(n, 1) for n in sizes) <= max(most, 2**31)
    machine.expect(good, f"a shape {str(sizes)[:100]} over {most} numbers")
    return math.prod(sizes)


def is_finite(tensor: Tensor) -> bool:
    """Whether all entries are finite; integers always are."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = tensor.aminmax()  # both are NaN if any entry is; makes no copy
    return bool(low.isfinite() and high.isfinite())


def _tensor(machine: Machine, arguments: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride, grad, hooks = arguments
    machine.expect(type(storage) is Storage and type(grad) is bool and hooks == {}, "a tensor")
    held = len(storage.flat)
    count = count_entries(machine, size, held)
    machine.expect(type(stride) is tuple and len(stride) == len(size), "the strides of a tensor")
    machine.expect(
        all(type(n) is int and 0 <= n < 2**40 for n in (offset, *stride)), "the strides of a tensor"
    )
    last = (
        offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if count
        else offset - 1
    )
    machine.expect(last < held, f"a tensor that reaches to {last} of {held} numbers")
    machine.charge(count * storage.flat.itemsize + OBJECT_BYTES)
    return torch.empty(0, dtype=storage.flat.dtype).set_(
        storage.flat.untyped_storage(), offset, size, stride
    )


def _parameter(machine: Machine, arguments: tuple[Any, ...]) -> Tensor:
    data, grad, hooks = arguments
    machine.expect(type(data) is Tensor and type(grad) is bool and hooks == {}, "a parameter")
    return data


def _plain_dict(machine: Machine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    machine.expect(arguments == (), "a dict")
    return {}


# The names in a state dict other than its storages.
TENSORS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): Call(_parameter),
    ("collections", "OrderedDict"): Call(_plain_dict),
}
