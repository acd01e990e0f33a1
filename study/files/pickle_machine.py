"""An interpreter of pickle instructions, with a stack, a memo and limits on memory.

It has no classes or functions of files: the caller gives each name its meaning, and all calls.
"""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from degradations import InputError
from study.files.pickle_values import (
    LONGEST_NAME,
    MOST_DEPTH,
    MOST_PARTS,
    MOST_STEPS,
    OBJECT_BYTES,
    SMALL,
    Budget,
    Call,
    Class,
    Unbuilt,
    is_key,
    is_name,
)

# stands in the memo for large bytes, which no writer uses twice, so that they can be freed
_LARGE = object()


class Machine:
    """Interprets one pickle after another from a file of which `left` bytes remain.

    `known` maps a module and a name in it to their meaning, None if there is none; `persistent`
    maps an identifier of a value outside the pickle to the value, None if there are no such values.
    Methods raise InputError, naming the path, if the content is not supported.
    """

    def __init__(
        self,
        path: Path,
        file: io.BufferedIOBase,
        size: int,
        budget: Budget,
        known: Callable[[tuple[str, str]], Any],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.path, self._file, self.left, self.budget, self._known = path, file, size, budget, known
        self._steps = _STEPS
        if persistent is not None:
            self._steps = _STEPS | {
                pickle.BINPERSID[0]: _push(lambda m: persistent(m._stack.pop()))
            }

    def rejection(self, why: str) -> InputError:
        """The error to raise: the path and the reason."""
        return InputError(f"{self.path}: {why}.")

    def run(self) -> Any:
        """The value of the next pickle."""
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}
        if self._read(1) != pickle.PROTO or not 2 <= self._read(1)[0] <= 5:
            raise self.rejection("not a pickle of protocols 2 to 5")
        while (code := self._read(1)[0]) != pickle.STOP[0]:
            self.budget.steps -= 1
            if self.budget.steps < 0:
                raise self.rejection(f"more than {MOST_STEPS} instructions")
            step = self._steps.get(code)
            if step is None:
                raise self.rejection(
                    f"has the instruction {bytes([code])!r}, which is not supported"
                )
            step(self)
        self.expect(len(self._stack) == 1 and not self._below, "its end")
        return self._stack[0]

    def check(self, root: Any, inside: Callable[["Machine", Any], list[Any]]) -> None:
        """Raises InputError if a value contains itself, is nested too deep, or has too many parts.

        Shared parts count each time. `inside` gives the parts of a value, and raises InputError for
        unsupported values.
        """
        measured: dict[int, tuple[int, int]] = {}  # the depth and the parts of each container
        around: set[int] = set()
        todo = [(root, False)]
        while todo:
            value, done = todo.pop()
            if not done and id(value) in measured:
                continue
            held = inside(self, value)
            if done:
                around.discard(id(value))
                sizes = [measured.get(id(part), (0, 1)) for part in held]
                measured[id(value)] = depth, parts = (
                    1 + max(s[0] for s in sizes),
                    1 + sum(s[1] for s in sizes),
                )
                if depth > MOST_DEPTH or parts > MOST_PARTS:
                    raise self.rejection(
                        f"is nested deeper than {MOST_DEPTH} or has more than {MOST_PARTS} values"
                    )
            elif id(value) in around:
                raise self.rejection("has a value that contains itself")
            elif held:
                around.add(id(value))
                todo.append((value, True))
                todo += [(part, False) for part in held]

    def number(self, layout: str) -> Any:
        """The next number, in a format of `struct`."""
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def fill(self, buffer: memoryview) -> None:
        """Read the next bytes into a buffer, without a copy."""
        if len(buffer) > self.left or self._file.readinto(buffer) != len(buffer):
            raise self.rejection("ends in the middle")
        self.left -= len(buffer)

    def charge(self, size: int) -> None:
        """Subtract copied bytes from the file's budget. Raises InputError if it is exhausted."""
        self.budget.bytes -= size
        if self.budget.bytes < 0:
            raise self.rejection("creates more bytes than the file allows")

    def expect(self, good: bool, what: str) -> None:
        """Raises InputError unless `good`."""
        if not good:
            raise self.rejection(f"{what} in an unsupported form")

    def _read(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises InputError, before anything is allocated, if the file has fewer.
        """
        if size > self.left or len(content := self._file.read(size)) != size:
            raise self.rejection("ends in the middle")
        self.left -= size
        return content

    def _frame(self) -> None:
        # frames only say how far to read ahead
        if self.number("<Q") > self.left:
            raise self.rejection("ends in the middle")

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _gather(self, use: Callable[[list[Any]], None]) -> None:
        """Pass on all values above the last mark."""
        items, self._stack = self._stack, self._below.pop()
        use(items)

    def _last(self, count: int) -> tuple[Any, ...]:
        self.expect(len(self._stack) >= count, "an instruction")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        return items

    def _line(self) -> str:
        line = bytearray()
        while (byte := self._read(1)) != b"\n":
            self.expect(len(line) < LONGEST_NAME, "a name")
            line += byte
        return line.decode()

    def _long(self) -> int:
        size = self._read(1)[0]
        self.expect(size <= 16, "a number")
        return int.from_bytes(self._read(size), "little", signed=True)

    def _find(self, module: Any, name: Any) -> None:
        """Push the meaning of a name in the file: looked up, never imported."""
        self.expect(is_name(module) and is_name(name), "a name")
        value = self._known((module, name))
        if value is None:
            wanted = ascii(f"{module}.{name}")[1:-1][:100]
            raise self.rejection(
                f"refers to {wanted}, which is not supported; nothing was executed"
            )
        self._stack.append(value)

    def _call(self, call: Any, arguments: Any) -> None:
        self.expect(type(call) is Call and type(arguments) is tuple, "a call")
        self._stack.append(call.make(self, arguments))

    def _new(self, made: Any, arguments: Any) -> None:
        self.expect(type(made) is Class and arguments == (), "a new object")
        self.charge(OBJECT_BYTES)
        self._stack.append(made.make(self))

    def _build(self, state: Any) -> None:
        value = self._stack[-1]
        if isinstance(value, np.dtype):  # already complete: its state only repeats it
            good = type(state) is tuple and state[:1] + state[2:] == (
                3,
                None,
                None,
                None,
                -1,
                -1,
                0,
            )
            self.expect(good and state[1] in ("<", "|", "="), "a dtype of NumPy")
            return
        if type(value) is dict and type(state) is dict and state.keys() == {"_metadata"}:
            return  # the versions of modules, an attribute of state dicts
        self.expect(type(value) is Unbuilt, "a state")
        self._stack[-1] = built = value.build(state)
        for key in value.keys:
            if self._memo[key] is value:
                self._memo[key] = built
        value.keys.clear()

    def _put(self, key: int) -> None:
        value = self._stack[-1]
        if type(value) is Unbuilt:
            value.keys.append(key)
        # the arguments of objects made of bytes
        parts = value[:5] if type(value) is tuple else (value,)
        large = any(type(part) is bytes and len(part) > SMALL for part in parts)
        self._memo[key] = _LARGE if large else value

    def _get(self, key: int) -> None:
        value = self._memo[key]
        self.expect(value is not _LARGE, "large bytes used twice")
        self._stack.append(value)

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        self.expect(type(target) is list, "a list")
        target.extend(items)

    def _add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        self.expect(type(target) is set and all(map(is_key, items)), "a set")
        target.update(items)

    def _update(self, items: list[Any]) -> None:
        target, keys = self._stack[-1], items[::2]
        self.expect(
            type(target) is dict and len(items) % 2 == 0 and all(map(is_key, keys)),
            "a dict or its keys",
        )
        target.update(zip(keys, items[1::2], strict=True))


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine._stack.append(make(machine))


_SET = Class(lambda machine: set())
_STEPS: dict[int, Callable[[Machine], None]] = {
    pickle.FRAME[0]: Machine._frame,
    pickle.MARK[0]: Machine._mark,
    pickle.NONE[0]: _push(lambda m: None),
    pickle.NEWTRUE[0]: _push(lambda m: True),
    pickle.NEWFALSE[0]: _push(lambda m: False),
    pickle.BININT[0]: _push(lambda m: m.number("<i")),
    pickle.BININT1[0]: _push(lambda m: m.number("<B")),
    pickle.BININT2[0]: _push(lambda m: m.number("<H")),
    pickle.LONG1[0]: _push(Machine._long),
    pickle.BINFLOAT[0]: _push(lambda m: m.number(">d")),
    pickle.SHORT_BINUNICODE[0]: _push(lambda m: m._read(m.number("<B")).decode()),
    pickle.BINUNICODE[0]: _push(lambda m: m._read(m.number("<I")).decode()),
    pickle.BINUNICODE8[0]: _push(lambda m: m._read(m.number("<Q")).decode()),
    pickle.SHORT_BINBYTES[0]: _push(lambda m: m._read(m.number("<B"))),
    pickle.BINBYTES[0]: _push(lambda m: m._read(m.number("<I"))),
    pickle.BINBYTES8[0]: _push(lambda m: m._read(m.number("<Q"))),
    pickle.BYTEARRAY8[0]: _push(lambda m: m._read(m.number("<Q"))),
    pickle.EMPTY_TUPLE[0]: _push(lambda m: ()),
    pickle.TUPLE1[0]: _push(lambda m: m._last(1)),
    pickle.TUPLE2[0]: _push(lambda m: m._last(2)),
    pickle.TUPLE3[0]: _push(lambda m: m._last(3)),
    pickle.TUPLE[0]: lambda m: m._gather(lambda items: m._stack.append(tuple(items))),
    pickle.EMPTY_LIST[0]: _push(lambda m: []),
    pickle.APPEND[0]: lambda m: m._extend([m._stack.pop()]),
    pickle.APPENDS[0]: lambda m: m._gather(m._extend),
    pickle.EMPTY_SET[0]: lambda m: m._new(_SET, ()),
    pickle.ADDITEMS[0]: lambda m: m._gather(m._add),
    pickle.EMPTY_DICT[0]: _push(lambda m: {}),
    pickle.SETITEM[0]: lambda m: m._update(list(m._last(2))),
    pickle.SETITEMS[0]: lambda m: m._gather(m._update),
    pickle.BINPUT[0]: lambda m: m._put(m.number("<B")),
    pickle.LONG_BINPUT[0]: lambda m: m._put(m.number("<I")),
    pickle.MEMOIZE[0]: lambda m: m._put(len(m._memo)),
    pickle.BINGET[0]: lambda m: m._get(m.number("<B")),
    pickle.LONG_BINGET[0]: lambda m: m._get(m.number("<I")),
    pickle.GLOBAL[0]: lambda m: m._find(m._line(), m._line()),
    pickle.STACK_GLOBAL[0]: lambda m: m._find(*m._last(2)),
    pickle.REDUCE[0]: lambda m: m._call(*m._last(2)),
    pickle.NEWOBJ[0]: lambda m: m._new(*m._last(2)),
    pickle.BUILD[0]: lambda m: m._build(m._stack.pop()),
}
