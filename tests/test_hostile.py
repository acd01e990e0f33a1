"""What small files may ask for: memory, of which rejecting them takes no more than they have bytes,
and 200 MB."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from degradations import InputError
from study.checkpoints.network_files import NetworkFile
from study.models.by_class import network_of_class
from tests.pickle_files import EasyDict, dumps
from tests.public_files import persistent
from tests.published_networks import TINY

ROOT = Path(__file__).parents[1]
MOST_MB = 200
LARGE = {
    "img_resolution": 64,
    "img_channels": 4,
    "model_channels": 1024,
    "channel_mult": [1, 2],
    "num_blocks": 4,
}
READ = """
import gc, sys
from contextlib import suppress
from pathlib import Path
from degradations import InputError
from study.checkpoints import load_base
from study.files.images import batches
from study.metrics import Pixels, Reference
from study.metrics.dinov2 import load_dinov2

readers = {
    "samples": lambda path: [len(batch) for batch in batches(path)],
    "base": lambda path: load_base(path, "digits"),
    "statistics": lambda path: Reference.load(Path(path), Pixels()), "dinov2": load_dinov2,
}

def mb(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) / 1024

try:
    readers["base"]("digits")  # what is imported late
except InputError:
    pass
for reader, path in zip(sys.argv[1::2], sys.argv[2::2]):
    gc.collect()
    # where it may not be told to, the peak is that of all files before, too
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = mb("VmRSS")
    try:
        readers[reader](Path(path))
        said = "read"
    except InputError as error:
        said = str(error)
    print(path, round(mb("VmHWM") - before), said, sep="\\t")
"""


def packed(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    """The header of an array, and nothing of it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    return buffer.getvalue()


def repacked() -> bytes:
    """A state dict of zeros, packed."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2**20)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        pickled = archive.read("archive/data.pkl")
    return packed(
        a__version=b"3",
        a__data__0=bytes(2**28),
        **{"a__data.pkl": pickled.replace(b"\0\0\x10\0", b"\0\0\0\x04")},
    )


def hostile() -> dict[str, tuple[str, dict[str, bytes]]]:
    """By name: the reader, and the files, of which the first is read."""
    zeros, small, state = bytes(3 * 10**8), save({"a": torch.zeros(2)}), repacked()
    call = b"\x80\x02cbuiltins\nbytearray\nJ\0\0\0\x20\x85R."
    wide = np.broadcast_to(np.uint8(0), (300, 1000, 1000))
    square = np.broadcast_to(0.0, (6000, 6000))
    eye = {
        name: npy(np.array(value)) + np.array(value).tobytes()
        for name, value in {"n.npy": 9, "extractor.npy": "pixels", "sha256.npy": "pixels"}.items()
    }
    card = json.dumps({"class": "Precond", "arguments": LARGE}).encode()
    network = {"width": 4096, "hidden": 16384, "blocks": 32}
    own = {
        "kind": "denoiser",
        "data": "digits",
        "sigma_data": 0.5,
        "network": network,
        "weights_sha256": hashlib.sha256(small).hexdigest(),
    }
    return {
        "pickle": (
            "base",
            {"w.pkl": dumps(EasyDict(ema=persistent(nn.Module(), "Precond", LARGE)))},
        ),
        "safetensors": ("base", {"w.safetensors": small, "w.json": card}),
        "own": (
            "base",
            {".": b"", "card.json": json.dumps(own).encode(), "weights.safetensors": small},
        ),
        "state": ("base", {"w.pt": state, "w.json": card}),
        "features": ("dinov2", {"w.pth": state}),
        "bytes": ("base", {"w.pt": packed(**{"a__data.pkl": call}), "w.json": card}),
        "samples": ("samples", {"x.npz": packed(**{"samples.npy": npy(wide) + zeros})}),
        "header": (
            "samples",
            {"x.npz": packed(**{"samples.npy": b"\x93NUMPY\2\0\0\0\0\x10" + zeros})},
        ),
        "statistics": (
            "statistics",
            {
                "x.npz": packed(
                    **{
                        "mu.npy": npy(np.zeros(6000)) + bytes(48_000),
                        "sigma.npy": npy(square) + bytes(6000**2 * 8),
                    },
                    **eye,
                )
            },
        ),
    }


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    arguments, sizes, cases = [], {}, hostile()
    for name, (reader, files) in cases.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            if file != ".":
                (tmp_path / name / file).write_bytes(content)
        path = str(tmp_path / name / next(iter(files)))
        arguments += [reader, path]
        sizes[path] = sum(len(content) for content in files.values()) / 2**20
    found = subprocess.run(
        [sys.executable, "-c", READ, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    lines = [line.split("\t") for line in found.stdout.splitlines()]
    assert len(lines) == len(cases)
    for path, memory, said in lines:
        assert float(memory) <= sizes[path] + MOST_MB, (path, memory, said)
        assert (said == "read") if "/samples/" in path else (str(tmp_path) in said), (path, said)


@pytest.mark.slow
def test_hundreds_of_hostile_files_are_rejected_or_read() -> None:
    """As the benchmark counts them, which ends with 1 where a file takes more memory or raises
    another error."""
    command = [sys.executable, "benchmarks/hostile_files.py"]
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=here, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "hostile_other 0" in found.stdout


KINDS = {"EDMPrecond": {}, "VPPrecond": {"M": 500}, "VEPrecond": {}, "iDDPMPrecond": {"M": 3000}}
EDM2 = {
    "img_resolution": 8,
    "img_channels": 3,
    "label_dim": 2,
    "model_channels": 8,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [4],
    "channels_per_head": 8,
}


@pytest.mark.parametrize("class_name", [*KINDS, "Precond"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_network_that_is_made_after_its_weights_is_what_it_was(
    class_name: str, dtype: torch.dtype
) -> None:
    """Bit for bit and in the same layout as one that is made with random weights first, computed
    buffers included."""
    arguments = (
        EDM2
        if class_name == "Precond"
        else {**TINY, "embedding_type": "fourier", **KINDS[class_name]}
    )
    arguments = (
        {**arguments, "encoder_type": "skip", "decoder_type": "skip"}
        if class_name != "Precond"
        else arguments
    )
    first = network_of_class(class_name, arguments)
    weights = {
        name: torch.randn(tensor.shape).to(dtype)
        for name, tensor in first.network.state_dict().items()
    }
    first.network.load_state_dict(weights)
    found = NetworkFile(class_name, arguments, weights, latents=False).build(Path("w.pkl"))
    expected, given = first.state_dict(), found.state_dict()
    assert given.keys() == expected.keys()
    for name, tensor in expected.items():
        assert given[name].dtype == tensor.dtype
        assert given[name].stride() == tensor.stride()
        assert torch.equal(given[name], tensor)
    assert not any(tensor.is_meta for tensor in (*found.parameters(), *found.buffers()))
    assert all(id(tensor) not in map(id, weights.values()) for tensor in found.parameters())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(found(x, 2.0), first.eval()(x, 2.0))


def test_an_empty_network_takes_no_memory_and_its_preconditioning_is_there() -> None:
    denoiser = network_of_class("iDDPMPrecond", {**TINY, "M": 100_000}, empty=True)
    assert all(
        tensor.is_meta for tensor in (*denoiser.network.parameters(), *denoiser.network.buffers())
    )
    assert denoiser.get_buffer("u").shape == (100_001,)
    assert torch.equal(
        denoiser.get_buffer("u"),
        network_of_class("iDDPMPrecond", {**TINY, "M": 100_000}).get_buffer("u"),
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("out_gain"), "the tensor 'out_gain' of its network is missing"),
        (
            lambda w: w.update(more=torch.ones(1)),
            "a tensor 'more', which its network does not have",
        ),
        (
            lambda w: w.update(out_gain=torch.ones(2)),
            r"'out_gain' has shape \(2,\); accepted: \(\)",
        ),
        (
            lambda w: w.update(out_gain=torch.tensor(torch.nan)),
            "'out_gain' has entries that are not finite",
        ),
    ],
)
def test_what_does_not_fit_is_rejected_before_the_network_is_made(
    change: Callable[[dict[str, torch.Tensor]], Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = dict(network_of_class("Precond", EDM2).network.state_dict())
    change(weights)
    made: list[object] = []
    monkeypatch.setattr(nn.Module, "to_empty", lambda self, **_: made.append(self))
    with pytest.raises(InputError, match=says):
        NetworkFile("Precond", EDM2, weights, latents=False).build(Path("w.pkl"))
    assert not made
