"""Pickles made or damaged to take time or memory: they are rejected, soon."""

import random
import struct
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.storage import _load_from_bytes

from degradations import InputError
from study.files import pickles
from study.files.pickle_values import Budget
from study.files.pickles import Record, load, tensors
from tests.pickle_files import (
    LINEAR,
    PRE,
    Call,
    Persistent,
    Stated,
    _reconstruct_persistent_obj,
    dumps,
    meta,
    network,
    read,
    rejected,
    storage,
    stored,
    tensor,
)


def laughs(levels: int, width: int = 10) -> Any:
    value: Any = ["ha"]
    for _ in range(levels):
        value = [value] * width
    return value


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.perf_counter()
    itself: list[Any] = []
    itself.append({"a": itself})
    rejected(tmp_path, itself, "has a value that contains itself")
    rejected(tmp_path, PRE + b"]" * 50_000 + b"a" * 49_999 + b".", "is nested deeper")
    rejected(tmp_path, PRE + b"N" + b"\x85" * 50_000 + b".", "is nested deeper")
    rejected(tmp_path, laughs(20), "is nested deeper than 100 or has more than")
    assert len(read(tmp_path, laughs(4))) == 10
    # One text of 1 MB encoded 1000 times; the same bytes made into an array, and into a storage,
    # again and again.
    again = b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86Ra"
    text = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20
    rejected(tmp_path, PRE + text + b"q\0]" + again * 1000 + b".", "creates more bytes")
    rejected(
        tmp_path,
        PRE + b"B" + struct.pack("<I", 2**17) + b"a" * 2**17 + b"q\0h\0\x86.",
        "large bytes used twice",
    )
    small = stored(torch.zeros(15_000))
    rejected(tmp_path, [Call(_load_from_bytes, small) for _ in range(100)], "creates more bytes")
    rejected(tmp_path, [[None] * 10**5] * 10**5, "is nested deeper than 100 or has more than")
    rejected(tmp_path, {"k" * 201: 1}, "a dict or its keys")
    rejected(
        tmp_path,
        PRE + (b"X" + struct.pack("<I", 201) + b"torch.nn.modules." + b"a" * 184) * 2 + b"\x93.",
        "a name",
    )
    state = {str(i): 0 for i in range(20_000)}
    shared = [Call(_reconstruct_persistent_obj, meta(state=state)) for _ in range(2000)]
    rejected(tmp_path, shared, "creates more bytes")
    new, content = np.zeros(1).__reduce__()[0], bytes(60_000)
    arrays = [
        Stated(new, (np.ndarray, (0,), b"b"), (1, (7500,), np.dtype("f8"), False, content))
        for _ in range(100)
    ]
    rejected(tmp_path, arrays, "creates more bytes")
    truth = Stated(new, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("?"), False, b"\2"))
    rejected(tmp_path, truth, "booleans")
    # An object remembered under many numbers, and given its state once for each of many copies.
    remembered = (
        LINEAR + b")\x81" + b"\x94" * 30_000 + b"h\0}(K\1" * 30_000 + b"h\0}b" + b"ub" * 30_000
    )
    rejected(tmp_path, PRE + b"]" + remembered + b".", ".")
    rejected(tmp_path, PRE + b"](" + b"\x8f" * 50_000 + b"e.", "creates more bytes")  # sets
    made = b"ctorch.nn.modules.linear\nLinear\n\x94](" + b"h\0)\x81" * 50_000
    rejected(tmp_path, PRE + made + b"e.", "creates more bytes")
    held = storage(torch.zeros(15_000))
    rejected(tmp_path, [tensor((15_000,), (1,), 0, held) for _ in range(100)], "creates more bytes")
    monkeypatch.setattr(Budget, "steps", 100)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (100,))
    rejected(tmp_path, PRE + b"]" + b"Na" * 51 + b".", "more than .* instructions")
    rejected(
        tmp_path, Call(_load_from_bytes, b"\x80\x02" + b"N" * 200), "more than .* instructions"
    )
    monkeypatch.setattr(pickles, "MOST_BYTES", 10)
    rejected(tmp_path, list(range(20)), r"found \d+ bytes; accepted: at most 10")
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


def test_a_cut_file_is_rejected(tmp_path: Path) -> None:
    content = dumps(network())
    assert len(content) > 5000
    for end in [*range(1, len(content), 11), len(content) - 1]:
        rejected(tmp_path, content[:end], ".*(ends in the middle|a storage)")


def test_a_damaged_file_is_rejected_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
