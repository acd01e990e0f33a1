"""Pickles as public checkpoints have them, made without their sources, and pickles that are bad."""

import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._utils import _rebuild_tensor_v2
from torch.storage import TypedStorage, _load_from_bytes

from degradations import InputError
from study.files.pickles import load


class EasyDict(dict[str, Any]):
    """A dict of another class, as public pickles have them."""


def _reconstruct_persistent_obj(meta: Any) -> None:
    raise AssertionError("the file was run")


class Call:
    """Pickled as a call of a function, which is not called here."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


class Stated:
    """Pickled as an object that is made anew and given a state."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any) -> None:
        self.parts = function, arguments, state

    def __reduce__(self) -> Any:
        return self.parts


class Persistent:
    """A mixin: pickled with its class's name, its state and source text, which the original reader
    would run."""

    source = "raise SystemExit"

    def __reduce__(self) -> Any:
        name = type(self).__name__
        return _reconstruct_persistent_obj, (
            meta(class_name=name, module_src=self.source, state=self.__dict__),
        )


def meta(**changes: Any) -> EasyDict:
    whole = {"type": "class", "version": 6, "module_src": "", "class_name": "Net", "state": {}}
    return EasyDict({key: value for key, value in (whole | changes).items() if value is not None})


class Layer(Persistent, nn.Module):
    def __init__(self, n: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, 3).to(dtype))
        self.register_buffer("scale", torch.arange(6.0).reshape(2, 3).t()[1:])
        self.register_buffer("none", None)
        self.register_buffer("passing", torch.ones(2), persistent=False)


class Net(Persistent, nn.Module):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._init_args, self._init_kwargs = args, EasyDict(kwargs)
        self.gain = nn.Parameter(torch.tensor(0.5), requires_grad=False)
        self.enc = nn.ModuleDict(
            {"a": Layer(2, torch.float16), "b": nn.ModuleList([Layer(1), nn.Linear(2, 2)])}
        )
        self.tied = Layer(4, torch.bfloat16)
        self.tied.weight = self.enc["a"].weight  # type: ignore[assignment]
        self.register_buffer("steps", torch.tensor([3, 4]))
        self.register_buffer("empty", torch.empty(0, 4))
        self.skip = None


class Encoder(Persistent):
    def __init__(self) -> None:
        self.scale, self.batch_size, self._vae = np.array([1, 2], np.float32), 8, None


@contextmanager
def renamed() -> Iterator[None]:
    """While pickling, this file's classes bear the names that the originals have."""
    modules = {
        name: ModuleType(name)
        for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    }
    before = EasyDict.__module__
    modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    modules["dnnlib.util"].EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules.update(modules)
    EasyDict.__module__, _reconstruct_persistent_obj.__module__ = (
        "dnnlib.util",
        "torch_utils.persistence",
    )
    try:
        yield
    finally:
        EasyDict.__module__ = _reconstruct_persistent_obj.__module__ = before
        for name in modules:
            del sys.modules[name]


def dumps(value: Any, protocol: int = 4) -> bytes:
    with renamed():
        return pickle.dumps(value, protocol)


def read(folder: Path, value: Any, protocol: int = 4) -> Any:
    """A value pickled and loaded; bytes are a pickle already."""
    (folder / "x.pkl").write_bytes(value if type(value) is bytes else dumps(value, protocol))
    return load(folder / "x.pkl")


def rejected(folder: Path, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=rf"x\.pkl: {says}"):
        read(folder, value)


def storage(tensor: Tensor) -> TypedStorage:
    return TypedStorage(  # type: ignore[no-untyped-call]
        wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True
    )


def tensor(size: Any, stride: Any, offset: Any = 0, held: Any = None) -> Call:
    held = storage(torch.arange(6.0)) if held is None else held
    return Call(_rebuild_tensor_v2, held, offset, size, stride, False, OrderedDict())


def stored(tensor: Tensor) -> bytes:
    content: bytes = storage(tensor).__reduce__()[1][0]  # type: ignore[no-untyped-call]
    return content


def stream(
    kind: Any = "storage",
    dtype: Any = torch.FloatStorage,
    key: Any = "0",
    view: Any = None,
    keys: Any = None,
    end: bytes = b"Q.",
) -> Call:
    """A storage of six zeros as torch.save writes it, or nearly so."""
    about = pickle.dumps((kind, dtype, key, "cpu", 6, view), 2)[:-1] + end
    start = [
        pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    ]
    rest = pickle.dumps([key] if keys is None else keys, 2) + struct.pack("<q", 6) + bytes(24)
    return Call(_load_from_bytes, b"".join(start) + about + rest)


def network() -> dict[str, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ema = Net(8, label_dim=10, channel_mult=[1, 2], balance=0.5, noise=None, fp16=True).eval()
    return EasyDict(ema=ema, encoder=Encoder(), dataset_kwargs=EasyDict(path="x.zip"), loss_fn=None)


PRE = b"\x80\x04"
LINEAR = b"ctorch.nn.modules.linear\nLinear\n"
