"""Files of every kind that the study reads from outside, small and whole, for `hostile_files.py` to
damage."""

import io
import json
import pickle
import random
import struct
import sys
import tempfile
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from study.checkpoints import build, load_base
from study.checkpoints import save as save_base
from study.data import load_data
from study.files.images import batches
from study.metrics import Pixels, Reference, load_extractor
from study.metrics.dinov2 import load_dinov2
from study.models.by_class import network_of_class
from study.specs import NetworkSpec

Reader = Callable[[Path], object]
SMALL = {
    "img_resolution": 8,
    "img_channels": 3,
    "model_channels": 8,
    "channel_mult": [1],
    "num_blocks": 1,
    "attn_resolutions": [],
}


class Case(NamedTuple):
    """A file, and the public reader that a user reaches it by."""

    kind: str
    path: Path
    read: Reader


Content = bytes | Callable[[Path], object]  # what a file holds, or what makes it
# by name: its reader, and its files, the first of them read
Crafted = Mapping[str, tuple[str, Mapping[str, Content]]]


def samples(path: Path) -> object:
    return deque(map(len, batches(path)), maxlen=0)


def statistics(path: Path) -> object:
    return Reference.load(path, Pixels())


def base(path: Path) -> object:
    return load_base(str(path), "digits", path.parent)


def extractor(path: Path) -> object:
    return load_extractor(str(path))


# --- real files


READERS: Mapping[str, Reader] = {
    "samples": samples,
    "folder": lambda path: samples(path.parent),
    "statistics": statistics,
    "base": base,
    "own": lambda path: base(path.parent),
    "extractor": extractor,
    "dinov2": load_dinov2,
}


def image(
    format_: str, mode: str = "RGB", side: int = 16, frames: int = 1, **options: Any
) -> bytes:
    shades = np.random.default_rng(0).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)
    first, *others = (Image.fromarray(each).convert(mode) for each in shades)
    if others:
        options |= {"save_all": True, "append_images": others}
    buffer = io.BytesIO()
    first.save(buffer, format_, **options)
    return buffer.getvalue()


def packed(entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npz(compressed: bool = True, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


class _Script(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Flatten()

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return img.flatten(1)


def script() -> bytes:
    """A TorchScript with Inception's interface."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(_Script()), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def weights(kind: str = "Precond", **changes: Any) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = network_of_class(kind, SMALL | changes).network.state_dict()
        return {name: tensor.contiguous() for name, tensor in state.items()}


def card(arguments: dict[str, Any], kind: str = "Precond") -> bytes:
    return json.dumps({"kind": "denoiser", "class": kind, "arguments": arguments}).encode()


def own_base() -> dict[str, bytes]:
    """A folder of a base that was trained here, but for the training."""
    spec = NetworkSpec(8, 8, 1, 4)
    with tempfile.TemporaryDirectory() as name:
        denoiser = build(spec, load_data("digits"), 0.5)
        save_base(
            Path(name),
            denoiser,
            "denoiser",
            {"data": "digits", "sigma_data": 0.5, "network": vars(spec)},
        )
        return {file.name: file.read_bytes() for file in sorted(Path(name).iterdir())}


def of_diffusers() -> dict[str, bytes]:
    """A network alone in diffusers' format."""
    import diffusers

    with tempfile.TemporaryDirectory() as name:
        diffusers.UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
        ).save_pretrained(name)
        diffusers.DDIMScheduler().save_pretrained(name)
        return {file.name: file.read_bytes() for file in sorted(Path(name).iterdir())}


def network_pickle(kind: str, arguments: dict[str, Any], tensors: dict[str, torch.Tensor]) -> bytes:
    """As EDM and EDM2 publish their networks."""
    inside = {
        f"{'unet' if kind == 'Precond' else 'model'}.{name}": tensor
        for name, tensor in tensors.items()
    }
    network = _module(kind, inside)
    network.meta["state"] |= {"_init_args": (), "_init_kwargs": _EasyDict(arguments)}
    return _dumps(_EasyDict(ema=network))


def mutated(content: bytes, draws: random.Random) -> bytes:
    """A file with some damages: bits, bytes and numbers changed, parts cut out, doubled or zeroed,
    its end lost."""
    found = bytearray(content)
    for _ in range(draws.choice([1, 1, 2, 5])):
        at, span = draws.randrange(len(found)), draws.choice([1, 4, 8, 50, 1000])
        match draws.randrange(7):
            case 0:
                found[at] ^= 1 << draws.randrange(8)
            case 1:
                found[at] = draws.randrange(256)
            case 2:
                found[at : at + 4] = struct.pack(
                    "<I", draws.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1])
                )
            case 3:
                del found[at : at + span]
            case 4:
                found[at:at] = found[at : at + span]
            case 5:
                found[at : at + span] = bytes(len(found[at : at + span]))
            case 6:
                del found[max(at, 1) :]
    return bytes(found)


class _EasyDict(dict[str, Any]):
    pass


def _reconstruct_persistent_obj(meta: Any) -> None:
    raise AssertionError("the file was run")


class _Persistent:
    def __init__(self, name: str, state: dict[str, Any]) -> None:
        self.meta = _EasyDict(
            type="class", version=6, module_src="raise SystemExit", class_name=name, state=state
        )

    def __reduce__(self) -> Any:
        return _reconstruct_persistent_obj, (self.meta,)


def _module(name: str, tensors: dict[str, torch.Tensor]) -> _Persistent:
    own: OrderedDict[str, torch.Tensor] = OrderedDict()
    inside: dict[str, dict[str, torch.Tensor]] = {}
    for path, tensor in tensors.items():
        head, dot, rest = path.partition(".")
        if dot:
            inside.setdefault(head, {})[rest] = tensor
        else:
            own[head] = tensor
    modules = OrderedDict((head, _module("Part", each)) for head, each in inside.items())
    return _Persistent(name, {"_parameters": own, "_buffers": OrderedDict(), "_modules": modules})


def _dumps(value: Any) -> bytes:
    """A pickle in which the classes above have the names of the originals."""
    modules = {
        name: ModuleType(name)
        for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    }
    renamed: tuple[tuple[Any, str, str], ...] = (
        (_EasyDict, "dnnlib.util", "EasyDict"),
        (_reconstruct_persistent_obj, "torch_utils.persistence", "_reconstruct_persistent_obj"),
    )
    sys.modules.update(modules)
    for each, module, name in renamed:
        setattr(modules[module], name, each)
        each.__module__, each.__qualname__ = module, name
    try:
        return pickle.dumps(value, 4)
    finally:
        for name in modules:
            del sys.modules[name]
