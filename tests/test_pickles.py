import _codecs
import gzip
import io
import os
import pickle
import random
import re
import struct
import sys
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2
from torch.storage import TypedStorage, _load_from_bytes

from degradations import InputError
from study.files import pickles
from study.files.pickle_values import Budget
from study.files.pickles import Record, load, tensors


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


class Text(str):
    """A text of another class."""


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


def refused(folder: Path, value: Any, says: str) -> None:
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


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_network_comes_back(tmp_path: Path, protocol: int) -> None:
    original = network()
    data = read(tmp_path, original, protocol)
    assert type(data) is dict
    assert list(data) == ["ema", "encoder", "dataset_kwargs", "loss_fn"]
    assert type(data["dataset_kwargs"]) is dict
    assert data["dataset_kwargs"] == {"path": "x.zip"}
    found, wanted = tensors(data["ema"]), original["ema"].state_dict()
    assert list(found) == list(wanted)
    for name, one in found.items():
        assert (one.dtype, one.stride()) == (wanted[name].dtype, wanted[name].stride()), name
        assert torch.equal(one, wanted[name]), name
    assert found["tied.weight"] is found["enc.a.weight"]
    assert found["enc.a.weight"].dtype == torch.float16
    state = data["ema"].state
    assert data["ema"].name == "Net"
    assert state["training"] is False
    assert state["skip"] is None
    assert state["_modules"]["enc"].name == "torch.nn.modules.container.ModuleDict"
    assert state["_init_args"] == (8,)
    assert type(state["_init_kwargs"]) is dict
    assert state["_init_kwargs"] == {
        "label_dim": 10,
        "channel_mult": [1, 2],
        "balance": 0.5,
        "noise": None,
        "fp16": True,
    }
    assert data["encoder"].name == "Encoder"
    assert data["encoder"].state["_vae"] is None
    assert np.array_equal(data["encoder"].state["scale"], np.array([1, 2], np.float32))


def test_views_share_their_storage(tmp_path: Path) -> None:
    held = storage(torch.arange(6.0))
    a, b, c = read(
        tmp_path,
        [tensor((2, 3), (3, 1), 0, held), tensor((2, 2), (1, 2), 1, held), tensor((), (), 5, held)],
    )
    assert a.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert b.tolist() == [[1, 3], [2, 4]]
    assert c.item() == 5
    a[1, 2] = 7
    assert c.item() == 7
    alone = read(tmp_path, torch.arange(10.0)[3:7:2])
    assert alone.tolist() == [3, 5]
    assert alone.stride() == (2,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_statistics_come_back(tmp_path: Path, protocol: int) -> None:
    # more than the bytes that are remembered
    sigma = np.random.default_rng(0).normal(size=(100, 100))
    value = {
        "num_images": 50000,
        "fid": {"mu": sigma[0], "sigma": np.asfortranarray(sigma)},
        "s": np.float32(1.5),
    }
    found = read(tmp_path, value, protocol)
    assert found["num_images"] == 50000
    assert found["s"] == 1.5
    assert type(found["s"]) is float
    assert np.array_equal(found["fid"]["mu"], sigma[0])
    assert np.array_equal(found["fid"]["sigma"], sigma)
    assert found["fid"]["sigma"].dtype == np.float64
    assert found["fid"]["sigma"].flags.writeable


def test_other_values(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(1, 0, 2)
    value = [
        torch.device("cuda:1"),
        torch.float16,
        np.dtype("f4"),
        {"a", "b"},
        -5,
        2**40,
        b"x",
        (True, None),
        {1: "ü"},
    ]
    assert read(tmp_path, value, 5) == [
        "cuda:1",
        torch.float16,
        np.dtype("f4"),
        {"a", "b"},
        *value[4:],
    ]
    assert np.array_equal(read(tmp_path, array, 5), array)
    assert np.array_equal(read(tmp_path, [array, array[:0]], 4)[0], array)
    for dtype in pickles.DTYPES.values():
        one = (torch.arange(5) % 2).to(dtype)
        assert torch.equal(read(tmp_path, one), one)
        assert read(tmp_path, one).dtype == dtype
    first, second = read(tmp_path, [array, array])
    assert first is second  # remembered before its state came


def test_memory_is_that_of_the_tensors(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(dumps({str(i): np.ones(2**18) for i in range(8)}))  # 8 × 2 MiB
    tracemalloc.start()
    load(tmp_path / "x.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 22 * 2**20


def evil(folder: Path) -> Call:
    return Call(os.system, f"touch {folder}/marker")


def inner(value: Any) -> Call:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return Call(_load_from_bytes, buffer.getvalue())


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_file_is_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    net = Net()
    net.source = net.enc.source = f"open({str(marker)!r}, 'w')"  # type: ignore[assignment]
    deep = network()
    deep["ema"].enc["a"].more = [{"x": evil(tmp_path)}]
    hostile = {
        evil(tmp_path): "posix.system",
        Call(eval, f"open({str(marker)!r}, 'w')"): "builtin.*eval",
        Call(exec, f"open({str(marker)!r}, 'w')"): "builtin.*exec",
        Call(getattr, "", "join"): "builtin.*getattr",
        Call(__import__, "this"): "__import__",
        Call(_load_from_bytes, evil(tmp_path)): "posix.system",
        Call(_reconstruct_persistent_obj, meta(module_src=evil(tmp_path))): "posix.system",
        inner(evil(tmp_path)): "posix.system",
        inner([torch.zeros(2), evil(tmp_path)]): "torch.*_rebuild_tensor_v2",
        Call(pickle.loads, b"x"): "pickle.*loads",
        Call(torch.load, "x"): "torch.*load",
        Path("x"): "pathlib.*Path",
        Stated(evil, (), {"a": 1}): "test_pickles.evil",
        Call(nn.Linear(1, 1).extra_repr): "builtin.*getattr",
    }
    for value, wants in [*hostile.items(), *([(deep, "posix.system")] if protocol > 3 else [])]:
        content = dumps(value, protocol)
        refused(
            tmp_path,
            content,
            rf"wants \w*\.?{wants}[\w.]*, which is not among what is read; nothing of it was run",
        )
    read(tmp_path, net)
    assert not marker.exists()


PRE = b"\x80\x04"
HUGE = struct.pack("<Q", 2**62)
NET = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
LINEAR = b"ctorch.nn.modules.linear\nLinear\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a pickle of protocols 2 to 5, but an empty file"),
        (b"(I1\nI2\nt.", "not a pickle"),
        (b"\x80\x01N.", "not a pickle"),
        (b"\x80\x06N.", "not a pickle"),
        (gzip.compress(b"\x80\x04N.", mtime=0), "not a pickle"),
        (b"text", "not a pickle"),
        (b"\x80\x04N.N", "goes on for 1 bytes"),
        (b"\x80\x04.", "its end"),
        (b"\x80\x04NN.", "its end"),
        (PRE + b"\x8d" + HUGE, "ends in the middle"),
        (PRE + b"\x8e" + HUGE, "ends in the middle"),
        (PRE + b"\x96" + HUGE, "ends in the middle"),
        (PRE + b"\x95" + HUGE + b"N.", "ends in the middle"),
        (PRE + b"\x8b\xff\xff\xff\x7f", r"has the instruction b'\\x8b'"),
        (PRE + b"I1\n.", "has the instruction b'I'"),
        (PRE + b"\x8a\xff" + b"\1" * 255 + b".", "a number in a form"),
        (PRE + b"X\xff\xff\xff\xff", "ends in the middle"),
        (PRE + b"]Q.", "has the instruction b'Q'"),
        (PRE + b"Px\n.", "has the instruction b'P'"),
        (PRE + b"(ios\nsystem\n.", "has the instruction b'i'"),
        (PRE + b"\x82\x01.", "has the instruction"),
        (PRE + b"N2.", "has the instruction b'2'"),
        (PRE + b"\x97.", "has the instruction"),
        (PRE + b"r\xff\xff\xff\xffN.", "not a whole"),
        (PRE + b"j\xff\xff\xff\xff.", "not a whole"),
        (PRE + b"cx\n" + b"y" * 201 + b"\n.", "a name in a form"),
        (PRE + b"NN\x93.", "a name in a form"),
        (PRE + b"X\x01\0\0\0\xff.", "not a whole"),
        (PRE + b"}]Ns.", "a dict or its keys in a form"),
        (PRE + b"}\x8a\x09" + b"\1" * 9 + b"Ns.", "a dict or its keys"),
        (PRE + b"}(Nu.", "a dict or its keys"),
        (PRE + b"}(N.", "its end"),
        (PRE + b"]NNs.", "a dict or its keys"),
        (PRE + b"]K\1Ns.", "a dict or its keys"),
        (PRE + b"\x8fK\1Ns.", "a dict or its keys"),
        (PRE + b"}(K\1u.", "a dict or its keys"),
        (PRE + b"N\x86.", "an instruction in a form"),
        (b"\x81\x04N.", "not a pickle of protocols 2 to 5"),
        (PRE + b"}Na.", "a list in a form"),
        (PRE + b"\x8f(]\x90.", "a set in a"),
        (PRE + b"N}b.", "a state in a form"),
        (PRE + b"}}b.", "a state in a form"),
        (PRE + b"](K\1eX\1\0\0\0a}b.", "a state"),
        (PRE + b"N)R.", "a call in a form"),
        (PRE + NET + b"K\1R.", "a call in a form"),
        (PRE + NET + b")R.", "not a whole"),
        (PRE + NET + b")\x81.", "a new object in a form"),
        (PRE + LINEAR + b"K\1\x85\x81.", "a new object in a form"),
        (PRE + LINEAR + b")R.", "a call in a form"),
        (PRE + LINEAR + b")\x81Nb.", "the state of torch.nn.modules.linear.Linear"),
        (PRE + LINEAR + b")\x81N}\x86b.", "the state of torch.nn.modules.linear.Linear in a form"),
        (PRE + LINEAR + b")\x81}}\x86b.", "the state of torch.nn.modules.linear.Linear in a form"),
        (PRE + LINEAR + b")\x81}K\1Nsb.", "the state of torch.nn.modules.linear.Linear in a form"),
        (PRE + LINEAR + b")\x81}b}b.", "a state in a form"),
        (PRE + LINEAR + b")\x81.", "a class, a call or a part"),
        (PRE + LINEAR + b".", "a class, a call or a part"),
        (PRE + NET + b".", "a class, a call or a part"),
        (PRE + b"cnumpy\nndarray\n.", "a class, a call or a part"),
        (PRE + b"ctorch.nn.modules.x\ny z\n.", "wants torch"),
        (PRE + b"ctorch.nn.functional\nrelu\n.", "wants torch.nn.functional.relu"),
        (PRE + b"ctorch.nn.modules\nos.system\n.", "wants torch.nn.modules.os.system"),
        (PRE + b"cdnnlib.util\nEasyDict\n)\x81}b.", "a state in a form"),
        (PRE + b"cos\n\x1b[2J\n.", r"wants os\.\\x1b\[2J,"),
    ],
)
def test_instructions_that_are_not_read(tmp_path: Path, content: bytes, says: str) -> None:
    refused(tmp_path, content, says)


def test_a_bad_value_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path, tensor((6,), (1,), 0, stream())).tolist() == [0.0] * 6
    for bad in (
        stream("module"),
        stream(dtype="FloatStorage"),
        stream(key=3),
        stream(view=("0", 0, 6)),
        stream(keys=["1"]),
        stream(keys=["0", "1"]),
        stream(keys="0"),
        stream(end=b"."),
    ):
        refused(tmp_path, tensor((6,), (1,), 0, bad), "a storage in a form")
    one = torch.arange(6.0)
    good = stored(one)
    zipped = io.BytesIO()
    torch.save(torch.zeros(2**20), zipped)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**24))
    float8 = Call(
        _load_from_bytes, stored(torch.zeros(2)).replace(b"FloatStorage", b"QUInt8Storage")
    )
    persistent = [
        meta(version=5),
        meta(version=True),
        meta(version=6.0),
        meta(version="6"),
        meta(type="function"),
        meta(class_name="a.b"),
        meta(class_name=3),
        meta(module_src=Encoder()),
        meta(module_src=None),
        meta(state=[1]),
        [1],
        None,
    ]
    cases = [
        *(
            (Call(_reconstruct_persistent_obj, one), "a persistent object|the state of Net")
            for one in persistent
        ),
        (Call(_reconstruct_persistent_obj, meta(state={1: 2})), "the state of Net"),
        (tensor((2**60,), (0,)), "a shape .* over 6 numbers"),
        (tensor((7,), (0,)), "a shape"),
        (tensor((2**40, 0, 2**40), (1, 1, 1)), "a shape"),
        (tensor((-1, -6), (1, 1)), "a shape"),
        (tensor((2,), (6,)), "a tensor that reaches to 6 of 6"),
        (tensor((6,), (1,), 1), "a tensor that reaches to 6"),
        (tensor((2,), (-1,), 3), "the strides"),
        (tensor((2,), (1,), -1), "the strides"),
        (tensor((2,), (1, 1)), "the strides"),
        (tensor((1,), (2**62,)), "the strides"),
        (tensor((2,), [1]), "the strides"),
        (tensor([2], (1,)), "a shape"),
        (tensor((True,), (1,)), "a shape"),
        (tensor((2.0,), (1,)), "a shape"),
        (tensor((1,) * 17, (1,) * 17), "a shape"),
        (tensor((), (), 6), "a tensor that reaches"),
        (tensor((1,), (1,), 0, one), "a tensor in a form"),
        (tensor((1,), (1,), 0, good), "a tensor in a form"),
        (
            Call(_rebuild_tensor_v2, storage(one), 0, (1,), (1,), False, {1: 2}),
            "a tensor in a form",
        ),
        (Call(_rebuild_tensor_v2, storage(one), 0), "not a whole"),
        (storage(one), "a class, a call or a part"),
        (Call(_rebuild_parameter, [1], True, OrderedDict()), "a parameter"),
        (Call(_load_from_bytes, good[:-1]), "a storage of other"),
        (Call(_load_from_bytes, good + b"x"), "a storage of other"),
        (Call(_load_from_bytes, good[:-33]), "ends in the middle|a storage"),
        (Call(_load_from_bytes, b""), "ends"),
        (Call(_load_from_bytes, PRE + LINEAR + b"."), "wants torch.nn.modules.linear.Linear"),
        (Call(_load_from_bytes, "x"), "a storage in a form"),
        (Call(_load_from_bytes, zipped.getvalue()), "not a pickle"),
        (Call(_load_from_bytes, bomb.getvalue()), "not a pickle"),
        (float8, "wants torch.QUInt8Storage"),
        (Call(_load_from_bytes, good.replace(b"K\x06", b"K\x07")), "a storage of other"),
        (
            Call(_load_from_bytes, good.replace(struct.pack("<q", 6), struct.pack("<q", 2**60))),
            "a storage of other",
        ),
        (
            Call(_load_from_bytes, good.replace(b"\xe9\x03", b"\xea\x03")),
            "a storage of another version",
        ),
        (
            Call(_load_from_bytes, re.sub(b"(?<=little_endianq.)\x88", b"\x89", good)),
            "a storage of another byte",
        ),
        (Call(_load_from_bytes, stored(torch.tensor([True]))[:-1] + b"\2"), "truth values"),
        (np.array([{}, 1], dtype=object), "a dtype of NumPy"),
        (np.array(["a"]), "a dtype of NumPy"),
        (np.zeros(2, [("a", "f4")]), "a dtype of NumPy"),
        (np.zeros(2, ">f4"), "a dtype of NumPy"),
        (np.zeros(2, complex), "a dtype of NumPy"),
        (Call(np.float64(1).__reduce__()[0], np.dtype("f8"), b"1"), "a shape|an"),
        (Call(np.float64(1).__reduce__()[0], "f8", b"12345678"), "an array"),
        (Text("x"), "wants test_pickles.Text"),
        (Call(torch.device, "cpu", 1, 2), "a device"),
        (Call(OrderedDict, [("a", 1)]), "a dict"),
        (Call(_codecs.encode, "x", "rot13"), "bytes in a form"),
    ]
    for shape, content in [
        ((2**60,), b""),
        ((2**31, 2**31, 0), b""),
        ((3,), b"1" * 8),
        ((-1,), b"1" * 8),
        ([1], b"1" * 8),
        ((1,), b"1" * 16),
    ]:
        new, state = np.zeros(1).__reduce__()[0], (1, shape, np.dtype("f8"), False, content)
        cases.append((Stated(new, (np.ndarray, (0,), b"b"), state), "a shape|an array"))
    cases.append((Stated(np.zeros(1).__reduce__()[0], (np.ndarray, (5,), b"b"), state), "an array"))
    for value, says in cases:
        refused(tmp_path, value, says)
    with pytest.raises(InputError, match="a folder; a file is expected"):
        load(tmp_path)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x", b"\x80\x04N.")
    refused(tmp_path, (tmp_path / "x.zip").read_bytes(), "not a pickle")


def laughs(levels: int, width: int = 10) -> Any:
    value: Any = ["ha"]
    for _ in range(levels):
        value = [value] * width
    return value


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.perf_counter()
    itself: list[Any] = []
    itself.append({"a": itself})
    refused(tmp_path, itself, "holds a value that holds itself")
    refused(tmp_path, PRE + b"]" * 50_000 + b"a" * 49_999 + b".", "nested deeper")
    refused(tmp_path, PRE + b"N" + b"\x85" * 50_000 + b".", "nested deeper")
    refused(tmp_path, laughs(20), "nested deeper than 100, or more than")
    assert len(read(tmp_path, laughs(4))) == 10
    # One text of 1 MB encoded 1000 times; the same bytes made into an array, and into a storage,
    # again and again.
    again = b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86Ra"
    text = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20
    refused(tmp_path, PRE + text + b"q\0]" + again * 1000 + b".", "makes more of its bytes")
    refused(
        tmp_path,
        PRE + b"B" + struct.pack("<I", 2**17) + b"a" * 2**17 + b"q\0h\0\x86.",
        "large bytes used twice",
    )
    small = stored(torch.zeros(15_000))
    refused(
        tmp_path, [Call(_load_from_bytes, small) for _ in range(100)], "makes more of its bytes"
    )
    refused(tmp_path, [[None] * 10**5] * 10**5, "nested deeper than 100, or more than")
    refused(tmp_path, {"k" * 201: 1}, "a dict or its keys")
    refused(
        tmp_path,
        PRE + (b"X" + struct.pack("<I", 201) + b"torch.nn.modules." + b"a" * 184) * 2 + b"\x93.",
        "a name",
    )
    state = {str(i): 0 for i in range(20_000)}
    shared = [Call(_reconstruct_persistent_obj, meta(state=state)) for _ in range(2000)]
    refused(tmp_path, shared, "makes more of its bytes")
    new, content = np.zeros(1).__reduce__()[0], bytes(60_000)
    arrays = [
        Stated(new, (np.ndarray, (0,), b"b"), (1, (7500,), np.dtype("f8"), False, content))
        for _ in range(100)
    ]
    refused(tmp_path, arrays, "makes more of its bytes")
    truth = Stated(new, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("?"), False, b"\2"))
    refused(tmp_path, truth, "truth values")
    # An object remembered under many numbers, and given its state once for each of many copies.
    remembered = (
        LINEAR + b")\x81" + b"\x94" * 30_000 + b"h\0}(K\1" * 30_000 + b"h\0}b" + b"ub" * 30_000
    )
    refused(tmp_path, PRE + b"]" + remembered + b".", ".")
    refused(tmp_path, PRE + b"](" + b"\x8f" * 50_000 + b"e.", "makes more of its bytes")  # sets
    made = b"ctorch.nn.modules.linear\nLinear\n\x94](" + b"h\0)\x81" * 50_000
    refused(tmp_path, PRE + made + b"e.", "makes more of its bytes")
    held = storage(torch.zeros(15_000))
    refused(
        tmp_path, [tensor((15_000,), (1,), 0, held) for _ in range(100)], "makes more of its bytes"
    )
    monkeypatch.setattr(Budget, "steps", 100)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (100,))
    refused(tmp_path, PRE + b"]" + b"Na" * 51 + b".", "more than .* instructions")
    refused(tmp_path, Call(_load_from_bytes, b"\x80\x02" + b"N" * 200), "more than .* instructions")
    monkeypatch.setattr(pickles, "MOST_BYTES", 10)
    refused(tmp_path, list(range(20)), ".* bytes; at most 10 are read")
    assert time.perf_counter() - start < 20


def test_a_hostile_length_takes_no_memory(tmp_path: Path) -> None:
    gib = struct.pack("<Q", 2**30)
    shaped = dumps(tensor((2**28,), (0,)))
    for content in (
        PRE + b"\x8e" + gib,
        PRE + b"\x8d" + gib,
        PRE + b"\x96" + gib,
        PRE + b"\x95" + gib,
        PRE + b"Nr\xff\xff\xff\x7f.",
        shaped,
        dumps(Call(_load_from_bytes, stored(torch.arange(6.0)).replace(b"K\6", b"J\0\0\0\x7f"))),
    ):
        (tmp_path / "x.pkl").write_bytes(content)
        tracemalloc.start()
        with suppress(InputError):
            load(tmp_path / "x.pkl")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 2**20


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    content = dumps(network())
    assert len(content) > 5000
    for end in [*range(1, len(content), 11), len(content) - 1]:
        refused(tmp_path, content[:end], ".*(ends in the middle|a storage)")


def test_a_damaged_file_is_refused_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "marker"
    monkeypatch.setattr(Persistent, "source", f"open({str(marker)!r}, 'w')")
    draws = random.Random(0)
    statistics = {"num_images": 5, "fid": {"mu": np.ones(3), "sigma": np.eye(3)}}
    files = [dumps(network()), dumps(network(), 5), dumps(statistics, 2), dumps(statistics, 5)]
    modules, ends = set(sys.modules), {True: 0, False: 0}
    for _ in range(800):
        content = bytearray(draws.choice(files))
        for _ in range(draws.choice([1, 1, 2, 8])):
            at = draws.randrange(len(content))
            match draws.randrange(3):
                case 0:
                    content[at] = draws.randrange(256)
                case 1:
                    content[at] ^= 1 << draws.randrange(8)
                case 2:
                    del content[at : at + draws.randrange(1, 9)]
        try:
            value = read(tmp_path, bytes(content))
            repr(value)
            if type(value) is dict and type(value.get("ema")) is Record:
                tensors(value["ema"])
            ends[True] += 1
        except InputError:
            ends[False] += 1
    assert ends[True] > 50
    assert ends[False] > 200
    assert not marker.exists()
    assert set(sys.modules) == modules


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_weight_that_is_not_finite_is_named(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    data = network()
    data["ema"].enc.b[0].scale = torch.ones(5, 7).to(dtype)
    assert len(tensors(read(tmp_path, data)["ema"])) == 11
    data["ema"].enc.b[0].scale[3, 2] = value
    found = read(tmp_path, data)["ema"]
    with pytest.raises(
        InputError, match=r"Net: 'enc\.b\.0\.scale' has entries that are not finite"
    ):
        tensors(found)


def module(modules: Any = None, **parameters: Any) -> Record:
    return Record(
        "M",
        {
            "_parameters": parameters,
            "_buffers": {},
            "_modules": modules if modules is not None else {},
        },
    )


def test_what_is_no_module_is_refused() -> None:
    one = torch.ones(2)
    around = module()
    around.state["_modules"]["a"] = around
    laugh = module(a=one)
    for _ in range(40):
        laugh = module({"a": laugh, "b": laugh})
    names = module({str(i): module(a=None) for i in range(2)})
    wide = module(
        dict.fromkeys(map(str, range(300)), module(**{f"p{i}": None for i in range(300)}))
    )
    assert tensors(names) == {}
    cases = {
        around: "nested without end",
        laugh: "more than 65536",
        wide: "more than 65536",
        Record("M", {**module().state, "_non_persistent_buffers_set": None}): "is not a module",
        Record("M", {}): "'' .M. is not a module",
        Record("M", {"_parameters": []}): "is not a module",
        module({"a": Record("Enc", {})}): r"'a' \(Enc\) is not a module",
        module({"a": one}): "'a' .M. is a Tensor",
        module(a=module()): "'a' .M. is a Record, in _parameters",
        module(a=[1]): "is a list",
        module({"a.b": module()}): "no",
        module(**{"a.b": one}): "'a.b' in '' is no name",
        module({"": module()}): "is no name",
        module({3: module()}): "3 in",
        module({"a": module(b=one)}, a=one): "'a' in '' is no name",
    }
    for record, says in cases.items():
        with pytest.raises(InputError, match=says):
            tensors(record)
