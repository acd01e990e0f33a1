"""Pickles of public networks and statistics, read without running anything of them.

A pickle is a program, and these come from the internet. So none of its instructions reaches Python's own unpickler:
the few that such files need are carried out here, on plain values. What a file names is looked up in one table and
never imported; an object of a class becomes a Record, whatever its class is, and code kept in the file stays text.
"""

import io
import math
import os
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from degradations import Refused

MOST_BYTES = 32 * 2**30
MOST_STEPS = 2**21  # instructions; a network of 200 tensors takes some 40 000
MOST_DEPTH = 100
MOST_PARTS = 2**22  # values, counting one as often as it is reached, so that no walk over the result takes for ever
MOST_DIMS = 16
MOST_NAMES = 2**16  # modules and tensors of a network
LONGEST_NAME = 200  # of a class, a module, a key: what is compared or joined again and again is short
SMALL = 2**16  # bytes that may be used more than once

DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
NUMPY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
LEAVES = (type(None), bool, int, float, str, bytes, Tensor, np.ndarray, torch.dtype)


@dataclass(frozen=True, eq=False)
class Record:
    """An object of a class that is not built: the name of its class and its state."""

    name: str
    state: Mapping[str, Any] = field(repr=False)


def load(path: Path) -> Any:
    """What a pickle holds, as plain values, tensors, NumPy arrays and Records; nothing in the file is run or imported.

    Dicts of any kind come back as dicts, parameters as tensors, NumPy's scalars as numbers, devices as strings. Raises
    Refused, naming the file, where it is missing, damaged, too large, or wants anything else than such values.
    """
    if not path.is_file():
        raise Refused(f"{path}: no such file.")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise Refused(f"{path}: {size} bytes, more than the {MOST_BYTES} that are read.")
            machine = _Machine(path, file, size, _Budget(3 * size + 2**20))
            value = machine.run()
        if machine.left:
            raise machine.refusal(f"goes on for {machine.left} bytes after its end")
        _check(machine, value)
        return value
    except Refused:
        raise
    except Exception as error:  # a damaged file can be wrong in any way; the checks below say what they can
        why = f"{type(error).__name__}: {error}"[:200]
        raise Refused(f"{path}: not a whole pickle of the kind that is read ({why}).") from None


def tensors(record: Record) -> dict[str, Tensor]:
    """All parameters and buffers of a module by dotted name, as its state_dict would have them.

    Buffers that are None, or that the module does not keep, are left out. Raises Refused, naming the tensor, where one
    is not finite, and for a record that is no module, or is nested without end.
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
                raise Refused(f"{record.name}: more than {MOST_NAMES} modules and tensors, or nested without end.")
            if not _is_name(name) or not name or "." in name or prefix + name in found:
                raise Refused(f"{record.name}: {ascii(name)[:100]} in '{prefix}' is no name of a module or tensor.")
            if isinstance(value, Record):
                children.append((f"{prefix}{name}.", value))
            elif value is not None:
                if id(value) not in finite and not _is_finite(value):
                    raise Refused(f"{record.name}: '{prefix}{name}' has entries that are not finite.")
                finite.add(id(value))
                found[prefix + name] = value
        todo += reversed(children)
    return found


def _members(module: Record, prefix: str) -> Iterator[tuple[Any, Any]]:
    """The names of a module's parameters, buffers and modules, each with a Tensor, a Record or None."""
    groups: dict[str, Any] = {key: module.state.get(key) for key in ("_parameters", "_buffers", "_modules")}
    dropped = module.state.get("_non_persistent_buffers_set", set())
    if type(dropped) is not set or not all(type(group) is dict for group in groups.values()):
        raise Refused(f"'{prefix.rstrip('.')}' ({module.name}) is not a module: no parameters, buffers and modules.")
    for key, group in groups.items():
        for name, value in group.items():
            if type(value) not in (type(None), Record if key == "_modules" else Tensor):
                raise Refused(f"'{prefix}{name}' ({module.name}) is a {type(value).__name__}, in {key}.")
            yield name, None if key == "_buffers" and name in dropped else value


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = tensor.aminmax()  # each is NaN where any entry is, and no copy is made
    return bool(low.isfinite() and high.isfinite())


@dataclass
class _Budget:
    """What is left to a file and to the streams inside it."""

    bytes: int  # to be copied: a few bytes of a file could otherwise be copied again and again
    steps: int = MOST_STEPS


@dataclass(frozen=True, eq=False)
class _Storage:
    flat: Tensor  # [n]


@dataclass(frozen=True, eq=False)
class _Call:
    """What a file may call: a function of this module, given the machine and the arguments."""

    make: Callable[["_Machine", tuple[Any, ...]], Any]


@dataclass(frozen=True, eq=False)
class _Class:
    """What a file may make an empty instance of."""

    make: Callable[["_Machine"], Any]


@dataclass(frozen=True, eq=False)
class _Unbuilt:
    """An object whose state comes in a later instruction, and where it is remembered until then."""

    build: Callable[[Any], Any]
    keys: list[int] = field(default_factory=list)


_LARGE = object()  # in the memo for large bytes, which no writer uses twice, so that they can be freed


class _Machine:
    """The instructions of one pickle after another out of a file of `left` bytes."""

    def __init__(self, path: Path, file: BinaryIO, size: int, budget: _Budget, inner: bool = False) -> None:
        self.path, self.file, self.left, self.budget = path, file, size, budget
        self.known: Mapping[tuple[str, str], Any]
        self.known, self.steps = (_STORAGES, _STORAGE_STEPS) if inner else (_KNOWN, _STEPS)

    def refusal(self, why: str) -> Refused:
        return Refused(f"{self.path}: {why}.")

    def run(self) -> Any:
        """The value of the next pickle."""
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}
        if self.read(1) != pickle.PROTO or not 2 <= self.read(1)[0] <= 5:
            raise self.refusal("not a pickle, or none of protocols 2 to 5")
        while (code := self.read(1)[0]) != pickle.STOP[0]:
            self.budget.steps -= 1
            if self.budget.steps < 0:
                raise self.refusal(f"more than {MOST_STEPS} instructions")
            step = self.steps.get(code)
            if step is None:
                raise self.refusal(f"has the instruction {bytes([code])!r}, which is not among what is read")
            step(self)
        self.expect(len(self.stack) == 1 and not self.below, "its end")
        value = self.stack[0]
        return value

    def read(self, size: int) -> bytes:
        """The next `size` bytes; refused before anything is allocated where the file has not so many."""
        if size > self.left or len(content := self.file.read(size)) != size:
            raise self.refusal("ends in the middle")
        self.left -= size
        return content

    def frame(self) -> None:
        if self.number("<Q") > self.left:  # frames say how far to read ahead, and are not needed otherwise
            raise self.refusal("ends in the middle")

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def charge(self, size: int) -> None:
        self.budget.bytes -= size
        if self.budget.bytes < 0:
            raise self.refusal("makes more of its bytes than it has")

    def expect(self, good: bool, what: str) -> None:
        if not good:
            raise self.refusal(f"{what} in a form that is not read")

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def gather(self, use: Callable[[list[Any]], None]) -> None:
        """Hands on all that lies above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        use(items)

    def last(self, count: int) -> tuple[Any, ...]:
        self.expect(len(self.stack) >= count, "an instruction")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def line(self) -> str:
        line = bytearray()
        while (byte := self.read(1)) != b"\n":
            self.expect(len(line) < LONGEST_NAME, "a name")
            line += byte
        return line.decode()

    def long(self) -> int:
        size = self.read(1)[0]
        self.expect(size <= 16, "a number")
        return int.from_bytes(self.read(size), "little", signed=True)

    def find(self, module: Any, name: Any) -> None:
        """Puts what stands for a name of the file: looked up, never imported."""
        self.expect(_is_name(module) and _is_name(name), "a name")
        full = f"{module}.{name}"
        if (module, name) in self.known:
            self.stack.append(self.known[module, name])
        elif module.startswith("torch.nn.modules.") and full.replace(".", "").isidentifier() and self.known is _KNOWN:
            self.stack.append(_Class(lambda machine: _Unbuilt(lambda state: _record(machine, full, state))))
        else:
            wanted = ascii(full)[1:-1][:100]
            raise self.refusal(f"wants {wanted}, which is not among what is read; nothing of it was run")

    def call(self, call: Any, arguments: Any) -> None:
        self.expect(type(call) is _Call and type(arguments) is tuple, "a call")
        self.stack.append(call.make(self, arguments))

    def new(self, made: Any, arguments: Any) -> None:
        self.expect(type(made) is _Class and arguments == (), "a new object")
        self.stack.append(made.make(self))

    def build(self, state: Any) -> None:
        value = self.stack[-1]
        if isinstance(value, np.dtype):  # already whole: its state only says so again
            good = type(state) is tuple and state[:1] + state[2:] == (3, None, None, None, -1, -1, 0)
            self.expect(good and state[1] in ("<", "|", "="), "a dtype of NumPy")
            return
        self.expect(type(value) is _Unbuilt, "a state")
        self.stack[-1] = built = value.build(state)
        for key in value.keys:
            if self.memo[key] is value:
                self.memo[key] = built
        value.keys.clear()

    def put(self, key: int) -> None:
        value = self.stack[-1]
        if type(value) is _Unbuilt:
            value.keys.append(key)
        parts = value[:5] if type(value) is tuple else (value,)  # the arguments of what is made of bytes
        large = any(type(part) is bytes and len(part) > SMALL for part in parts)
        self.memo[key] = _LARGE if large else value

    def get(self, key: int) -> None:
        value = self.memo[key]
        self.expect(value is not _LARGE, "large bytes used twice")
        self.stack.append(value)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        self.expect(type(target) is list, "a list")
        target.extend(items)

    def add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        self.expect(type(target) is set and all(map(_is_key, items)), "a set")
        target.update(items)

    def update(self, items: list[Any]) -> None:
        target, keys = self.stack[-1], items[::2]
        self.expect(type(target) is dict and len(items) % 2 == 0 and all(map(_is_key, keys)), "a dict or its keys")
        target.update(zip(keys, items[1::2], strict=True))


@dataclass(frozen=True, eq=False)
class _About:
    value: Any  # ('storage', dtype, key, device, numbers, None)


def _is_name(name: Any) -> bool:
    return type(name) is str and len(name) <= LONGEST_NAME


def _is_key(key: Any) -> bool:
    return _is_name(key) or (type(key) is int and abs(key) < 2**31)  # of larger numbers many can share a hash


def _shape(machine: _Machine, shape: Any, most: int) -> int:
    """The number of entries of a shape, none more than `most`; a 0 among the sizes hides no huge ones."""
    good = type(shape) is tuple and len(shape) <= MOST_DIMS and all(type(n) is int and n >= 0 for n in shape)
    machine.expect(good, "a shape")
    good = math.prod(shape) <= most and math.prod(max(n, 1) for n in shape) <= max(most, 2**31)
    machine.expect(good, f"a shape {str(shape)[:100]} over {most} numbers")
    return math.prod(shape)


def _record(machine: _Machine, name: str, state: Any) -> Record:
    machine.expect(type(state) is dict, f"the state of {name}")  # its keys are checked at the end, once
    return Record(name, state)


def _persistent(machine: _Machine, arguments: tuple[Any, ...]) -> Record:
    (meta,) = arguments
    machine.expect(type(meta) is dict, "a persistent object")
    kind, version, source, name = (meta.get(key) for key in ("type", "version", "module_src", "class_name"))
    machine.expect(kind == "class" and type(version) is int and version == 6, "a persistent object of another version")
    machine.expect(type(source) is str and _is_name(name) and name.isidentifier(), "a persistent object")
    return _record(machine, name, meta.get("state"))


def _storage(machine: _Machine, arguments: tuple[Any, ...]) -> _Storage:
    """A storage as torch.save writes one by itself: five small pickles, the count again, and the numbers."""
    (content,) = arguments
    machine.expect(type(content) is bytes, "a storage")
    machine.charge(len(content))
    inner = _Machine(machine.path, io.BytesIO(content), len(content), machine.budget, inner=True)
    magic, version, system, about, keys = (inner.run() for _ in range(5))
    machine.expect((magic, version) == (0x1950A86A20F9469CFC6C, 1001), "a storage of another version")
    machine.expect(type(system) is dict and system.get("little_endian") is True, "a storage of another byte order")
    machine.expect(type(about) is _About and type(about.value) is tuple, "a storage")
    kind, dtype, key, _, count, view = about.value
    machine.expect(kind == "storage" and type(dtype) is torch.dtype and _is_name(key) and view is None, "a storage")
    machine.expect(type(keys) is list and keys == [key], "a storage")
    start = len(content) - inner.left + 8
    good = type(count) is int and inner.number("<q") == count and inner.left == count * dtype.itemsize
    machine.expect(good, f"a storage of other than {inner.left} bytes")
    flat = torch.empty(inner.left, dtype=torch.uint8)
    flat.numpy()[:] = np.frombuffer(content, np.uint8, offset=start) if inner.left else 0
    machine.expect(dtype != torch.bool or not (flat > 1).any(), "truth values")
    return _Storage(flat.view(dtype))


def _tensor(machine: _Machine, arguments: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride, grad, hooks = arguments
    machine.expect(type(storage) is _Storage and type(grad) is bool and hooks == {}, "a tensor")
    held = len(storage.flat)
    count = _shape(machine, size, held)
    machine.expect(type(stride) is tuple and len(stride) == len(size), "the strides of a tensor")
    machine.expect(all(type(n) is int and 0 <= n < 2**40 for n in (offset, *stride)), "the strides of a tensor")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if count else offset - 1
    machine.expect(last < held, f"a tensor that reaches to {last} of {held} numbers")
    machine.charge(count * storage.flat.itemsize)
    return torch.empty(0, dtype=storage.flat.dtype).set_(storage.flat.untyped_storage(), offset, size, stride)


def _parameter(machine: _Machine, arguments: tuple[Any, ...]) -> Tensor:
    data, grad, hooks = arguments
    machine.expect(type(data) is Tensor and type(grad) is bool and hooks == {}, "a parameter")
    return data


def _plain_dict(machine: _Machine, arguments: tuple[Any, ...] = ()) -> dict[Any, Any]:
    machine.expect(arguments == (), "a dict")
    return {}


def _encode(machine: _Machine, arguments: tuple[Any, ...]) -> bytes:
    text, encoding = arguments  # how protocol 2 writes bytes
    machine.expect(type(text) is str and encoding == "latin1", "bytes")
    machine.charge(len(text))
    return bytes(text.encode("latin1"))


def _device(machine: _Machine, arguments: tuple[Any, ...]) -> str:
    machine.expect(len(arguments) <= 2 and all(map(_is_key, arguments)), "a device")
    return ":".join(map(str, arguments))


def _dtype(machine: _Machine, arguments: tuple[Any, ...]) -> np.dtype[Any]:
    machine.expect(type(arguments[0]) is str and arguments[0] in NUMPY_DTYPES, "a dtype of NumPy")
    return np.dtype("<" + arguments[0])


def _array(machine: _Machine, content: Any, dtype: Any, shape: Any, order: Any = "C", axes: Any = None) -> Any:
    machine.expect(type(content) is bytes and isinstance(dtype, np.dtype), "an array")
    machine.expect(order in ("C", "F", "K") and (axes is None or type(axes) is tuple), "the order of an array")
    count = _shape(machine, shape, len(content) // dtype.itemsize)
    machine.expect(count * dtype.itemsize == len(content), f"an array {shape} of {len(content)} bytes")
    machine.charge(len(content))
    flat = np.array(memoryview(content))
    machine.expect(dtype != np.bool_ or not (flat > 1).any(), "truth values")
    array = flat.view(dtype).reshape(shape, order="F" if order == "F" else "C")
    return array if axes is None else array.transpose(axes)


def _unbuilt_array(machine: _Machine, arguments: tuple[Any, ...]) -> _Unbuilt:
    machine.expect(len(arguments) == 3 and arguments[:2] == (_NDARRAY, (0,)), "an array")

    def build(state: Any) -> Any:
        _, shape, dtype, fortran, content = state
        return _array(machine, content, dtype, shape, "F" if fortran else "C")

    return _Unbuilt(build)


def _scalar(machine: _Machine, arguments: tuple[Any, ...]) -> Any:
    dtype, content = arguments
    return _array(machine, content, dtype, ()).item()


_NDARRAY = object()
_KNOWN: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_persistent),
    ("dnnlib.util", "EasyDict"): _Class(_plain_dict),
    ("collections", "OrderedDict"): _Call(_plain_dict),
    ("_codecs", "encode"): _Call(_encode),
    ("torch.storage", "_load_from_bytes"): _Call(_storage),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    ("torch", "device"): _Call(_device),
    ("numpy", "dtype"): _Call(_dtype),
    ("numpy", "ndarray"): _NDARRAY,
}
_KNOWN.update({("torch", str(dtype).removeprefix("torch.")): dtype for dtype in DTYPES.values()})
for _module in ("numpy.core", "numpy._core"):  # as NumPy 1 and 2 call it
    _KNOWN[f"{_module}.multiarray", "_reconstruct"] = _Call(_unbuilt_array)
    _KNOWN[f"{_module}.multiarray", "scalar"] = _Call(_scalar)
    _KNOWN[f"{_module}.numeric", "_frombuffer"] = _Call(lambda machine, arguments: _array(machine, *arguments))
_STORAGES = {("torch", name): dtype for name, dtype in DTYPES.items()}


def _push(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make(machine))


_STEPS: dict[int, Callable[[_Machine], None]] = {
    pickle.FRAME[0]: _Machine.frame,
    pickle.MARK[0]: _Machine.mark,
    pickle.NONE[0]: _push(lambda m: None),
    pickle.NEWTRUE[0]: _push(lambda m: True),
    pickle.NEWFALSE[0]: _push(lambda m: False),
    pickle.BININT[0]: _push(lambda m: m.number("<i")),
    pickle.BININT1[0]: _push(lambda m: m.number("<B")),
    pickle.BININT2[0]: _push(lambda m: m.number("<H")),
    pickle.LONG1[0]: _push(_Machine.long),
    pickle.BINFLOAT[0]: _push(lambda m: m.number(">d")),
    pickle.SHORT_BINUNICODE[0]: _push(lambda m: m.read(m.number("<B")).decode()),
    pickle.BINUNICODE[0]: _push(lambda m: m.read(m.number("<I")).decode()),
    pickle.BINUNICODE8[0]: _push(lambda m: m.read(m.number("<Q")).decode()),
    pickle.SHORT_BINBYTES[0]: _push(lambda m: m.read(m.number("<B"))),
    pickle.BINBYTES[0]: _push(lambda m: m.read(m.number("<I"))),
    pickle.BINBYTES8[0]: _push(lambda m: m.read(m.number("<Q"))),
    pickle.BYTEARRAY8[0]: _push(lambda m: m.read(m.number("<Q"))),
    pickle.EMPTY_TUPLE[0]: _push(lambda m: ()),
    pickle.TUPLE1[0]: _push(lambda m: m.last(1)),
    pickle.TUPLE2[0]: _push(lambda m: m.last(2)),
    pickle.TUPLE3[0]: _push(lambda m: m.last(3)),
    pickle.TUPLE[0]: lambda m: m.gather(lambda items: m.stack.append(tuple(items))),
    pickle.EMPTY_LIST[0]: _push(lambda m: []),
    pickle.APPEND[0]: lambda m: m.extend([m.stack.pop()]),
    pickle.APPENDS[0]: lambda m: m.gather(m.extend),
    pickle.EMPTY_SET[0]: _push(lambda m: set()),
    pickle.ADDITEMS[0]: lambda m: m.gather(m.add),
    pickle.EMPTY_DICT[0]: _push(lambda m: {}),
    pickle.SETITEM[0]: lambda m: m.update(list(m.last(2))),
    pickle.SETITEMS[0]: lambda m: m.gather(m.update),
    pickle.BINPUT[0]: lambda m: m.put(m.number("<B")),
    pickle.LONG_BINPUT[0]: lambda m: m.put(m.number("<I")),
    pickle.MEMOIZE[0]: lambda m: m.put(len(m.memo)),
    pickle.BINGET[0]: lambda m: m.get(m.number("<B")),
    pickle.LONG_BINGET[0]: lambda m: m.get(m.number("<I")),
    pickle.GLOBAL[0]: lambda m: m.find(m.line(), m.line()),
    pickle.STACK_GLOBAL[0]: lambda m: m.find(*m.last(2)),
    pickle.REDUCE[0]: lambda m: m.call(*m.last(2)),
    pickle.NEWOBJ[0]: lambda m: m.new(*m.last(2)),
    pickle.BUILD[0]: lambda m: m.build(m.stack.pop()),
}
_STORAGE_STEPS = _STEPS | {pickle.BINPERSID[0]: _push(lambda m: _About(m.stack.pop()))}


def _check(machine: _Machine, root: Any) -> None:
    """Refuses a value that holds itself, is nested too deep, or has too many parts if shared ones count each time."""
    measured: dict[int, tuple[int, int]] = {}  # the depth and the parts of each container
    around: set[int] = set()
    todo = [(root, False)]
    while todo:
        value, done = todo.pop()
        if not done and id(value) in measured:
            continue
        inside = _inside(machine, value)
        if done:
            around.discard(id(value))
            sizes = [measured.get(id(part), (0, 1)) for part in inside]
            measured[id(value)] = depth, parts = 1 + max(s[0] for s in sizes), 1 + sum(s[1] for s in sizes)
            if depth > MOST_DEPTH or parts > MOST_PARTS:
                raise machine.refusal(f"nested deeper than {MOST_DEPTH}, or more than {MOST_PARTS} values")
        elif id(value) in around:
            raise machine.refusal("holds a value that holds itself")
        elif inside:
            around.add(id(value))
            todo.append((value, True))
            todo += [(part, False) for part in inside]


def _inside(machine: _Machine, value: Any) -> list[Any]:
    kind = type(value)
    if kind is Record:
        machine.charge(len(value.state))  # many may have the same
        machine.expect(all(map(_is_name, value.state)), f"the state of {value.name}")
        return [value.state]
    if kind in (dict, list, tuple):
        return list(value.values() if kind is dict else value)
    plain = kind in LEAVES or kind is set or isinstance(value, np.dtype)
    machine.expect(plain, "a class, a call or a part of an object, as a value")
    return []
