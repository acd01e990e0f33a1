"""Calls, instructions and values that a pickle may not hold: rejected, and nothing is run."""

import _codecs
import gzip
import io
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2
from torch.storage import _load_from_bytes

from degradations import InputError
from study.files.pickles import load
from tests.pickle_files import (
    LINEAR,
    PRE,
    Call,
    Encoder,
    Net,
    Stated,
    _reconstruct_persistent_obj,
    dumps,
    meta,
    network,
    read,
    rejected,
    storage,
    stored,
    stream,
    tensor,
)


class Text(str):
    """A text of another class."""


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
        Stated(evil, (), {"a": 1}): "test_pickles_rejected.evil",
        Call(nn.Linear(1, 1).extra_repr): "builtin.*getattr",
    }
    for value, wants in [*hostile.items(), *([(deep, "posix.system")] if protocol > 3 else [])]:
        content = dumps(value, protocol)
        rejected(
            tmp_path,
            content,
            rf"refers to \w*\.?{wants}[\w.]*, which is not supported; nothing was executed",
        )
    read(tmp_path, net)
    assert not marker.exists()


HUGE = struct.pack("<Q", 2**62)
NET = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "found an empty file; accepted: a pickle of protocols 2 to 5"),
        (b"(I1\nI2\nt.", "not a pickle|accepted: a pickle"),
        (b"\x80\x01N.", "not a pickle|accepted: a pickle"),
        (b"\x80\x06N.", "not a pickle|accepted: a pickle"),
        (gzip.compress(b"\x80\x04N.", mtime=0), "not a pickle|accepted: a pickle"),
        (b"text", "not a pickle|accepted: a pickle"),
        (b"\x80\x04N.N", "has 1 further bytes"),
        (b"\x80\x04.", "its end"),
        (b"\x80\x04NN.", "its end"),
        (PRE + b"\x8d" + HUGE, "ends in the middle"),
        (PRE + b"\x8e" + HUGE, "ends in the middle"),
        (PRE + b"\x96" + HUGE, "ends in the middle"),
        (PRE + b"\x95" + HUGE + b"N.", "ends in the middle"),
        (PRE + b"\x8b\xff\xff\xff\x7f", r"has the instruction b'\\x8b'"),
        (PRE + b"I1\n.", "has the instruction b'I'"),
        (PRE + b"\x8a\xff" + b"\1" * 255 + b".", "a number in an unsupported form"),
        (PRE + b"X\xff\xff\xff\xff", "ends in the middle"),
        (PRE + b"]Q.", "has the instruction b'Q'"),
        (PRE + b"Px\n.", "has the instruction b'P'"),
        (PRE + b"(ios\nsystem\n.", "has the instruction b'i'"),
        (PRE + b"\x82\x01.", "has the instruction"),
        (PRE + b"N2.", "has the instruction b'2'"),
        (PRE + b"\x97.", "has the instruction"),
        (PRE + b"r\xff\xff\xff\xffN.", "not a complete"),
        (PRE + b"j\xff\xff\xff\xff.", "not a complete"),
        (PRE + b"cx\n" + b"y" * 201 + b"\n.", "a name in an unsupported form"),
        (PRE + b"NN\x93.", "a name in an unsupported form"),
        (PRE + b"X\x01\0\0\0\xff.", "not a complete"),
        (PRE + b"}]Ns.", "a dict or its keys in an unsupported form"),
        (PRE + b"}\x8a\x09" + b"\1" * 9 + b"Ns.", "a dict or its keys"),
        (PRE + b"}(Nu.", "a dict or its keys"),
        (PRE + b"}(N.", "its end"),
        (PRE + b"]NNs.", "a dict or its keys"),
        (PRE + b"]K\1Ns.", "a dict or its keys"),
        (PRE + b"\x8fK\1Ns.", "a dict or its keys"),
        (PRE + b"}(K\1u.", "a dict or its keys"),
        (PRE + b"N\x86.", "an instruction in an unsupported form"),
        (b"\x81\x04N.", "not a pickle of protocols 2 to 5|accepted: a pickle"),
        (PRE + b"}Na.", "a list in an unsupported form"),
        (PRE + b"\x8f(]\x90.", "a set in a"),
        (PRE + b"N}b.", "a state in an unsupported form"),
        (PRE + b"}}b.", "a state in an unsupported form"),
        (PRE + b"](K\1eX\1\0\0\0a}b.", "a state"),
        (PRE + b"N)R.", "a call in an unsupported form"),
        (PRE + NET + b"K\1R.", "a call in an unsupported form"),
        (PRE + NET + b")R.", "not a complete"),
        (PRE + NET + b")\x81.", "a new object in an unsupported form"),
        (PRE + LINEAR + b"K\1\x85\x81.", "a new object in an unsupported form"),
        (PRE + LINEAR + b")R.", "a call in an unsupported form"),
        (PRE + LINEAR + b")\x81Nb.", "the state of torch.nn.modules.linear.Linear"),
        (
            PRE + LINEAR + b")\x81N}\x86b.",
            "the state of torch.nn.modules.linear.Linear in an unsupported form",
        ),
        (
            PRE + LINEAR + b")\x81}}\x86b.",
            "the state of torch.nn.modules.linear.Linear in an unsupported form",
        ),
        (
            PRE + LINEAR + b")\x81}K\1Nsb.",
            "the state of torch.nn.modules.linear.Linear in an unsupported form",
        ),
        (PRE + LINEAR + b")\x81}b}b.", "a state in an unsupported form"),
        (PRE + LINEAR + b")\x81.", "a class, a call or a part"),
        (PRE + LINEAR + b".", "a class, a call or a part"),
        (PRE + NET + b".", "a class, a call or a part"),
        (PRE + b"cnumpy\nndarray\n.", "a class, a call or a part"),
        (PRE + b"ctorch.nn.modules.x\ny z\n.", "refers to torch"),
        (PRE + b"ctorch.nn.functional\nrelu\n.", "refers to torch.nn.functional.relu"),
        (PRE + b"ctorch.nn.modules\nos.system\n.", "refers to torch.nn.modules.os.system"),
        (PRE + b"cdnnlib.util\nEasyDict\n)\x81}b.", "a state in an unsupported form"),
        (PRE + b"cos\n\x1b[2J\n.", r"refers to os\.\\x1b\[2J,"),
    ],
)
def test_instructions_that_are_not_read(tmp_path: Path, content: bytes, says: str) -> None:
    rejected(tmp_path, content, says)


def test_a_bad_value_is_rejected(tmp_path: Path) -> None:
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
        rejected(tmp_path, tensor((6,), (1,), 0, bad), "a storage in an unsupported form")
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
        (tensor((1,), (1,), 0, one), "a tensor in an unsupported form"),
        (tensor((1,), (1,), 0, good), "a tensor in an unsupported form"),
        (
            Call(_rebuild_tensor_v2, storage(one), 0, (1,), (1,), False, {1: 2}),
            "a tensor in an unsupported form",
        ),
        (Call(_rebuild_tensor_v2, storage(one), 0), "not a complete"),
        (storage(one), "a class, a call or a part"),
        (Call(_rebuild_parameter, [1], True, OrderedDict()), "a parameter"),
        (Call(_load_from_bytes, good[:-1]), "a storage that does not have"),
        (Call(_load_from_bytes, good + b"x"), "a storage that does not have"),
        (Call(_load_from_bytes, good[:-33]), "ends in the middle|a storage"),
        (Call(_load_from_bytes, b""), "ends"),
        (Call(_load_from_bytes, PRE + LINEAR + b"."), "refers to torch.nn.modules.linear.Linear"),
        (Call(_load_from_bytes, "x"), "a storage in an unsupported form"),
        (Call(_load_from_bytes, zipped.getvalue()), "not a pickle|accepted: a pickle"),
        (Call(_load_from_bytes, bomb.getvalue()), "not a pickle|accepted: a pickle"),
        (float8, "refers to torch.QUInt8Storage"),
        (Call(_load_from_bytes, good.replace(b"K\x06", b"K\x07")), "a storage that does not have"),
        (
            Call(_load_from_bytes, good.replace(struct.pack("<q", 6), struct.pack("<q", 2**60))),
            "a storage that does not have",
        ),
        (
            Call(_load_from_bytes, good.replace(b"\xe9\x03", b"\xea\x03")),
            "a storage of another version",
        ),
        (
            Call(_load_from_bytes, re.sub(b"(?<=little_endianq.)\x88", b"\x89", good)),
            "a storage of another byte",
        ),
        (Call(_load_from_bytes, stored(torch.tensor([True]))[:-1] + b"\2"), "booleans"),
        (np.array([{}, 1], dtype=object), "a dtype of NumPy"),
        (np.array(["a"]), "a dtype of NumPy"),
        (np.zeros(2, [("a", "f4")]), "a dtype of NumPy"),
        (np.zeros(2, ">f4"), "a dtype of NumPy"),
        (np.zeros(2, complex), "a dtype of NumPy"),
        (Call(np.float64(1).__reduce__()[0], np.dtype("f8"), b"1"), "a shape|an"),
        (Call(np.float64(1).__reduce__()[0], "f8", b"12345678"), "an array"),
        (Text("x"), "refers to test_pickles_rejected.Text"),
        (Call(torch.device, "cpu", 1, 2), "a device"),
        (Call(OrderedDict, [("a", 1)]), "a dict"),
        (Call(_codecs.encode, "x", "rot13"), "bytes in an unsupported form"),
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
        rejected(tmp_path, value, says)
    with pytest.raises(InputError, match="found a folder; accepted: a file"):
        load(tmp_path)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x", b"\x80\x04N.")
    rejected(tmp_path, (tmp_path / "x.zip").read_bytes(), "not a pickle|accepted: a pickle")
