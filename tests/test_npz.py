"""NPZ files and zips from outside: read a part at a time, and no further than they say."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from degradations import InputError
from study.files import images, zips
from study.files.images import batches
from study.files.npz import open_npz
from study.files.zips import open_zip, read_entry


def read(path: Path, size: int = 4) -> torch.Tensor:
    return torch.cat(list(batches(path, size)))


def npy(
    shape: str,
    dtype: str = "<f4",
    order: str = "False",
    data: bytes = b"",
    version: bytes = b"\1\0",
) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}}}".encode()
    return (
        b"\x93NUMPY"
        + version
        + struct.pack("<H" if version == b"\1\0" else "<I", len(header))
        + header
        + data
    )


def packed(path: Path, content: bytes, name: str = "samples.npy") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_parts_are_the_whole(dtype: str, write: Any, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(size=(11, 3, 2)).astype(dtype)
    write(tmp_path / "x.npz", samples=samples)
    found = list(batches(tmp_path / "x.npz", 4))
    assert [len(batch) for batch in found] == [4, 4, 3]
    assert np.array_equal(torch.cat(found).numpy(), samples.astype(np.float32))


def test_an_array_stored_column_by_column_is_rejected(tmp_path: Path) -> None:
    samples = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    np.savez(tmp_path / "x.npz", samples=samples)
    with pytest.raises(InputError, match="'samples' is stored column by column"):
        read(tmp_path / "x.npz")
    with open_npz(tmp_path / "x.npz") as arrays:  # as a whole it can be read
        assert np.array_equal(arrays.numbers("samples", (4, None)), samples)


def test_a_damaged_array_is_rejected_by_its_checksum(tmp_path: Path) -> None:
    """In its first part and in its last, wherever the damage is: nothing is given back as if it
    were whole."""
    np.savez(
        tmp_path / "x.npz",
        samples=np.random.default_rng(0).integers(0, 256, (9, 8, 8), dtype=np.uint8),
    )
    content = (tmp_path / "x.npz").read_bytes()
    for at in (400, len(content) - 300):
        (tmp_path / "x.npz").write_bytes(
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        )
        with pytest.raises(InputError, match=r"samples\.npy cannot be unpacked \(Bad CRC-32"):
            read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy("(3, 2)", data=bytes(25)), "has 25 bytes, which is not its shape"),
        (npy("(3, 2)", data=bytes(23)), "has 23 bytes, which is not its shape"),
        (npy("(-3, -2)", data=bytes(24)), r"has the shape \(-3, -2\)"),
        (npy("(True, 6)", data=bytes(24)), r"has the shape \(True, 6\)"),
        (npy("(1000000000000, 0)"), "accepted: samples"),
        (
            npy("(3, 2)", "|O", data=bytes(48)),
            "is of the type object; accepted: floats and integers",
        ),
        (npy("(3, 2)", "|V99999", data=bytes(48)), "is of the type"),
        (npy("(3, 2)", data=bytes(24), version=b"\2\0"), "does not begin as an array of numbers"),
        (npy("(" * 5000), "does not begin as an array of numbers"),
        (npy("(3, 2)" + " " * 20_000, data=bytes(24)), "does not begin as an array of numbers"),
        (b"text", "does not begin as an array of numbers"),
        (
            npy("(1, 20000000)", data=bytes(80_000_000)),
            "accepted: samples of at most 16777216 numbers",
        ),
    ],
)
def test_a_header_is_checked(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as rejected:
        read(packed(tmp_path / "x.npz", content))
    assert "allow_pickle" not in str(rejected.value)
    assert len(str(rejected.value)) < 400


def test_no_more_is_unpacked_than_is_declared(tmp_path: Path) -> None:
    """An entry of 2 MB that says it has a thousand bytes."""
    path = packed(tmp_path / "x.zip", bytes(2**21), "a.png")
    content = bytearray(path.read_bytes())
    for at in (22, content.index(b"PK\1\2") + 24):
        content[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with open_zip(path) as archive, pytest.raises(InputError, match="Bad CRC-32"):
        read_entry(path, archive, archive.infolist()[0], 10**6)


def test_a_zip_s_entries_are_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "LEAST_UNPACKED", 10**4)
    monkeypatch.setattr(zips, "LEAST_DIRECTORY", 10**4)
    path = packed(tmp_path / "x.zip", bytes(2 * 10**4), "a.png")
    with pytest.raises(
        InputError, match=r"a\.png unpacks to 20000 bytes, more than 2 times its size in the zip"
    ):
        read(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(400):
            archive.writestr(f"{index}.png", b"")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(
        InputError, match="its directory of entries is out of proportion to its 35802 bytes"
    ):
        read(path)


def test_other_ways_of_packing_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for method, number in ((zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.png", b"x" * 1000)
        with pytest.raises(
            InputError, match=f"a.png is compressed by method {number}; accepted: stored"
        ):
            read(path)
    packed(path, b"x" * 100, "a.png")
    content = bytearray(path.read_bytes())
    for at in (6, content.index(b"PK\1\2") + 8):
        content[at] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png is encrypted"):
        read(path)


def test_small_arrays_are_held_within_bounds(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "x.npz", a=np.zeros((3000, 3000)), b=np.arange(3), c="name", d="x" * 2000
    )
    with open_npz(tmp_path / "x.npz") as arrays:
        assert arrays.text("c") == "name"
        assert arrays.numbers("b", (3,)).tolist() == [0, 1, 2]
        for call, says in (
            (
                lambda: arrays.numbers("a", (None, None)),
                "takes 72000000 bytes of memory; accepted: at most 67108864",
            ),
            (lambda: arrays.numbers("b", (4,)), r"has shape \(3,\); accepted: \(4,\)"),
            (lambda: arrays.numbers("b", ()), r"has shape \(3,\); accepted: \(\)"),
            (lambda: arrays.numbers("c", ()), "is of the type <U4"),
            (lambda: arrays.text("b"), "is of the type int64; accepted: text"),
            (lambda: arrays.text("d"), "is not a text of at most 1000 letters"),
        ):
            with pytest.raises(InputError, match=says):
                call()


def test_batches_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_TOGETHER", 300)
    np.savez_compressed(tmp_path / "x.npz", samples=np.ones((7, 10, 10), np.uint8))
    assert [len(batch) for batch in batches(tmp_path / "x.npz", 500)] == [3, 3, 1]
