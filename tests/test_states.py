"""State dicts as torch.save writes them: what PyTorch's reader gives, without PyTorch's reader."""

import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from degradations import InputError
from study.checkpoints import load_base
from study.files.pickle_values import Budget
from study.files.states import read_state
from tests.published_networks import TINY

FORMATS = pytest.mark.parametrize("zipped", [True, False])
# What no message may show: a library's objects, its insides, and its advice to trust what was
# rejected.
FOREIGN = re.compile(r"weights_only|allow_pickle|trust|object at 0x|miniz|https?://|issue")


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))


def values() -> dict[str, Tensor]:
    whole = torch.arange(24.0).reshape(4, 6)
    dtypes = (
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int64,
        torch.uint8,
        torch.int8,
        torch.bool,
    )
    return {
        "whole": whole,
        "part": whole[1:3, 2:],
        "turned": whole.T,
        "same": whole,
        "one": torch.tensor(3.0),
        "none": torch.empty(0, 4),
        "parameter": nn.Parameter(torch.ones(2)),
        "strided": torch.arange(9.0)[::2],
        **{str(dtype): torch.tensor([0, 1, 1]).to(dtype) for dtype in dtypes},
    }


def write(path: Path, value: Any, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@FORMATS
@pytest.mark.parametrize(
    "make", [values, lambda: network().state_dict(), lambda: OrderedDict(values())]
)
def test_what_was_saved_is_read(make: Callable[[], Any], zipped: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "w.pt", make(), zipped)
    found, expected = read_state(path), torch.load(path, weights_only=True)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].stride() == tensor.stride()
        assert torch.equal(found[name], tensor.detach())


@FORMATS
def test_tensors_of_one_storage_share_it(zipped: bool, tmp_path: Path) -> None:
    found = read_state(write(tmp_path / "w.pt", values(), zipped))
    found["whole"][1, 2] = -1
    assert found["part"][0, 0] == found["turned"][2, 1] == found["same"][1, 2] == -1


class Program:
    ran = 0

    def __reduce__(self) -> Any:
        return _run, ()


def _run() -> None:
    Program.ran += 1


def called(content: bytes) -> Callable[[Path], None]:
    """A file whose pickle is a call."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02c" + content + b"\x85R.")

    return make


def script(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)  # type: ignore[no-untyped-call]


def packed(path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(values(), buffer)
    with (
        zipfile.ZipFile(buffer) as whole,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))


def cut(zipped: bool, to: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = write(path, values(), zipped).read_bytes()
        path.write_bytes(content[: int(len(content) * to)])

    return make


def of_bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (os.mkdir, "found a folder; accepted: a file"),
    "pipe": (os.mkfifo, "found a pipe, socket or device; accepted: a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a pipe, socket or device"),
    "empty": (of_bytes(b""), "an empty file, not a file of torch.save; accepted: a state dict"),
    "text": (of_bytes(b"hello"), "a file of an unknown kind, not a file of torch.save; accepted:"),
    "page": (of_bytes(b"<!DOCTYPE html><html>"), "a page of HTML or XML"),
    "pointer": (of_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
    "safetensors": (
        lambda path: save_file({"a": torch.ones(2)}, path),
        "a safetensors file, not a file of torch.save",
    ),
    "other zip": (
        lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"),
        "a zip, but not a file of torch.save",
    ),
    "module": (
        lambda path: torch.save(network(), path),
        r"refers to torch\.nn\.modules.*nothing was executed; accepted",
    ),
    "list": (
        lambda path: torch.save([torch.ones(2)], path),
        "holds a list; accepted: a state dict",
    ),
    "tensor": (lambda path: torch.save(torch.ones(2), path), "holds a Tensor; accepted:"),
    "nested": (
        lambda path: torch.save({"model": values()}, path),
        "under 'model' it holds a dict, not a tensor",
    ),
    "numbered": (
        lambda path: torch.save({1: torch.ones(2)}, path),
        "its key 1 is not a name; accepted:",
    ),
    "script": (script, "found a TorchScript, a program, which is not executed"),
    "packed": (
        packed,
        "its entry 'archive/data.pkl' is compressed, which PyTorch's files never are",
    ),
    "cut zip": (cut(True, 0.9), "not a complete file of torch.save"),
    "cut old file": (cut(False, 0.9), "a storage that does not have the"),
    "cut pickle": (cut(False, 0.1), "ends in the middle"),
    "sparse": (
        lambda path: torch.save({"a": torch.eye(2).to_sparse()}, path),
        "refers to torch._utils._rebuild_sparse",
    ),
    "program": (
        lambda path: path.write_bytes(pickle.dumps(Program(), 2)),
        "refers to .*_run, .*nothing was executed",
    ),
    "large bytes": (
        called(b"builtins\nbytearray\nJ\xff\xff\xff\x7f"),
        "refers to builtins.bytearray",
    ),
    "large tensor": (called(b"torch\nTensor\nJ\xff\xff\xff\x7f"), "refers to torch.Tensor"),
    "system": (called(b"os\nsystem\nX\4\0\0\0true"), "refers to os.system"),
}


@pytest.mark.parametrize("kind", BAD)
def test_anything_else_is_rejected_in_our_words(kind: str, tmp_path: Path) -> None:
    make, says = BAD[kind]
    make(path := tmp_path / "w.pt")
    (tmp_path / "w.json").write_text('{"class": "EDMPrecond", "arguments": {}}')
    for read in (read_state, lambda path: load_base(path, "digits")):
        with pytest.raises(InputError, match=says) as rejected:
            read(path)
        assert str(path) in str(rejected.value)
        assert not FOREIGN.search(str(rejected.value).replace("git-lfs", ""))
        assert len(str(rejected.value)) < 500
    assert Program.ran == 0


def test_a_storage_that_is_not_its_file_s_is_rejected(tmp_path: Path) -> None:
    """Of more numbers or fewer than there are: rejected before memory is taken for them."""
    path = write(tmp_path / "w.pt", {"a": torch.arange(99.0)})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    old = write(tmp_path / "old.pt", {"a": torch.arange(99.0)}, zipped=False).read_bytes()
    for count in (b"K\x62", b"K\x64", b"J\0\0\0\x7f", b"J\xff\xff\xff\xff"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(
                    name,
                    content.replace(b"K\x63", count, 1) if name.endswith("data.pkl") else content,
                )
        (tmp_path / "old.pt").write_bytes(old.replace(b"K\x63", count, 1))
        for file in (path, tmp_path / "old.pt"):
            with pytest.raises(InputError, match=r"a storage|a shape .* over 98 numbers"):
                read_state(file)


def test_a_damaged_number_is_rejected_by_its_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "w.pt", {"a": torch.full((99,), 3.0)})
    content = path.read_bytes()
    at = content.index(torch.full((9,), 3.0).numpy().tobytes()) + 8
    path.write_bytes(content[:at] + b"\1" + content[at + 1 :])
    with pytest.raises(InputError, match="w/data/0 cannot be unpacked"):
        read_state(path)


def test_its_instructions_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget.__init__, "__defaults__", (20,))
    with pytest.raises(InputError, match="instructions; accepted: a state dict"):
        read_state(write(tmp_path / "w.pt", values()))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_wrong_with_weights_is_said_before_what_is_wrong_with_their_card(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"not a zip")
    with pytest.raises(
        InputError,
        match=rf"^\S*w\{suffix}: (found a file of an unknown kind|not a complete safetensors file)",
    ):
        load_base(path, "digits")
    weights = {name: tensor.contiguous() for name, tensor in network().state_dict().items()}
    torch.save(weights, path) if suffix == ".pt" else save_file(weights, path)
    with pytest.raises(InputError, match=rf"^\S*w\{suffix}: its card w\.json is missing"):
        load_base(path, "digits")
    for card, says in (
        ("{", r"line 1: "),
        ("[1]", "list"),
        ("{}", "'class' is missing"),
        ("[" * 10**5, "nested"),
    ):
        (tmp_path / "w.json").write_text(card)
        with pytest.raises(
            InputError, match=rf"w\.json: not the card of a published network.*{says}"
        ):
            load_base(path, "digits")
    (tmp_path / "w.json").unlink()
    os.mkfifo(tmp_path / "w.json")
    with pytest.raises(InputError, match=r"w\.json"):
        load_base(path, "digits")


def test_a_missing_safetensors_says_what_it_is_instead(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    (tmp_path / "w.json").write_text(
        f'{{"class": "EDMPrecond", "arguments": {str(TINY).replace(chr(39), chr(34))}}}'
    )
    for make, says in (
        (
            lambda: torch.save(values(), path),
            "but a zip, as .npz files and those of torch.save are",
        ),
        (lambda: path.write_bytes(pickle.dumps(1)), "but a pickle"),
        (lambda: path.write_bytes(b""), "but an empty file"),
        (
            lambda: path.write_bytes((2**22 + 1).to_bytes(8, "little") + b"{" * (2**22 + 2)),
            "a header of 4194305 bytes",
        ),
    ):
        make()
        with pytest.raises(InputError, match=says):
            load_base(path, "digits")
