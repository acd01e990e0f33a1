"""Hostile pickles, weights and cards: small ones that ask for much. For `hostile_files.py`."""

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from hostile_kinds import (
    SMALL,
    Content,
    Crafted,
    card,
    image,
    network_pickle,
    packed,
    saved,
    script,
    weights,
)
from safetensors.torch import save
from torch import nn

LARGE = {
    "img_resolution": 64,
    "img_channels": 4,
    "model_channels": 1024,
    "channel_mult": [1, 2],
    "num_blocks": 4,
}


def pickles() -> Crafted:
    inside = weights()
    contents = {
        f"{kind}-large": network_pickle(kind, LARGE, {})
        for kind in ("Precond", "EDMPrecond", "VPPrecond", "VEPrecond")
    }
    deep = SMALL | {
        "img_resolution": 1024,
        "channel_mult": [1] * 10,
        "num_blocks": 32,
        "model_channels": 64,
    }
    contents |= {
        "iDDPMPrecond-steps": network_pickle("iDDPMPrecond", LARGE | {"M": 100_000}, {}),
        "deep": network_pickle("VPPrecond", deep, {}),
        "other": network_pickle("Precond", SMALL | {"label_dim": 9}, inside),
        "huge": network_pickle(
            "EDMPrecond", LARGE | {"model_channels": 2048, "channel_mult": [64] * 6}, {}
        ),
        "labels": network_pickle(
            "Precond", SMALL | {"label_dim": 100_000, "channel_mult_emb": 64}, inside
        ),
        "class": network_pickle("os.system", SMALL, {}),
        "call": b"\x80\x04cos\nsystem\nX\4\0\0\0true\x85R.",
    }
    start, many = b"\x80\x04", 2**20 - 9
    contents |= {
        "sets": start + b"](" + b"\x8f" * many + b"e.",
        "lists": start + b"](" + b"]" * many + b"e.",
        "marks": start + b"(" * many + b".",
        "remembered": start + b"](" + b"]\x94" * (many // 2) + b"e.",
        "objects": start
        + b"ctorch.nn.modules.linear\nLinear\n\x94]("
        + b"h\0)\x81" * (many // 3)
        + b"e.",
        "dicts": start + b"ccollections\nOrderedDict\n\x94](" + b"h\0)R" * (many // 3) + b"e.",
        "numbers": start + b"](" + (b"\x8a\x10" + b"\1" * 16) * many + b"e.",
        "texts": start + b"](" + b"\x8c\2ab" * many + b"e.",
        "tuples": start + b"](" + b"N\x85" * (many // 2) + b"e.",
    }
    return {name: ("base", {f"{name}.pkl": content}) for name, content in contents.items()}


def states() -> Crafted:
    zeros = {"weight": torch.zeros(2**28)}
    pushed = packed({f"a/{name}": content for name, content in _entries(saved(zeros)).items()})
    calls = {
        "bytearray": b"builtins\nbytearray\nJ\xff\xff\xff\x7f",
        "tensor": b"torch\nTensor\nJ\0\0\0\x40",
        "floats": b"torch\nFloatTensor\nJ\0\0\0\x40",
        "system": b"os\nsystem\nX\4\0\0\0true",
    }
    called = {name: b"\x80\x02c" + call + b"\x85R." for name, call in calls.items()}
    old = saved({"a": torch.zeros(9)}, _use_new_zipfile_serialization=False)
    good, zero = saved({"a": torch.zeros(9)}), saved(0, _use_new_zipfile_serialization=False)
    contents = {
        "packed": pushed,
        "legacy-large": old.replace(b"K\x09", b"J\0\0\0\x7f"),
        "legacy-cut": old[:-9],
        "module": saved(nn.Linear(2, 2)),
        "list": saved([torch.zeros(2)]),
        "one": saved(torch.zeros(2)),
        "nested": saved({"state_dict": {"a": torch.zeros(2)}}),
        "script": script(),
        "cut": good[:-80],
        "strange": saved({"a": torch.zeros(2, dtype=torch.complex64)}),
        "tar": b"storages".ljust(512, b"\0"),
        "sparse": saved({"a": torch.eye(3).to_sparse()}),
        **{
            f"zip-{name}": packed({"a/data.pkl": call}, zipfile.ZIP_STORED)
            for name, call in called.items()
        },
        **{f"legacy-{name}": zero.replace(b"\x80\x02K\0.", call) for name, call in called.items()},
    }
    beside = card(SMALL)
    found: dict[str, tuple[str, Mapping[str, Content]]] = {
        name: ("base", {"w.pt": content, "w.json": beside}) for name, content in contents.items()
    }
    found |= {
        f"dinov2-{name}": ("dinov2", {"w.pth": content}) for name, content in contents.items()
    }
    return {**found, "large": ("base", {"w.pt": saved(weights()), "w.json": card(LARGE)})}


def _entries(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def plain() -> Crafted:
    empty = {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(400_000)}
    beyond = {"a": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}

    def headed(entries: Any, length: int | None = None) -> bytes:
        header = json.dumps(entries).encode()
        return struct.pack("<Q", len(header) if length is None else length) + header

    small = save(weights())
    contents = {
        "many": headed(empty),
        "beyond": headed(beyond),
        "long": headed({}, 2**62),
        "pickle": pickle.dumps({}),
        "zip": saved(weights()),
        "empty": b"",
        "text": b"hello",
        "cut": small[:-100],
        "list": headed([1]),
    }
    found: dict[str, tuple[str, Mapping[str, Content]]] = {
        name: ("base", {"w.safetensors": content, "w.json": card(SMALL)})
        for name, content in contents.items()
    }
    return {
        **found,
        "no-card": ("base", {"w.safetensors": small}),
        "no-zip": ("base", {"w.pt": b"text"}),
        "large": ("base", {"w.safetensors": small, "w.json": card(LARGE)}),
        "steps": (
            "base",
            {"w.safetensors": small, "w.json": card(LARGE | {"M": 100_000}, "iDDPMPrecond")},
        ),
    }


def cards() -> Crafted:
    small = save({"a": torch.zeros(2)})
    digest = hashlib.sha256(small).hexdigest()
    network = {"width": 4096, "hidden": 16384, "blocks": 64, "embedding": 4096}
    own = {
        "kind": "denoiser",
        "data": "digits",
        "sigma_data": 0.5,
        "network": network,
        "weights_sha256": digest,
    }
    unet = {
        "_class_name": "UNet2DModel",
        "sample_size": 8,
        "in_channels": 3,
        "block_out_channels": [65536] * 4,
        "down_block_types": ["DownBlock2D"] * 4,
        "up_block_types": ["UpBlock2D"] * 4,
        "layers_per_block": 512,
    }
    dit = {
        "_class_name": "DiTTransformer2DModel",
        "norm_type": "ada_norm_zero",
        "sample_size": 65536,
        "patch_size": 1,
        "in_channels": 4,
        "num_embeds_ada_norm": 65536,
        "num_layers": 512,
        "num_attention_heads": 4096,
    }
    schedule = json.dumps(
        {
            "_class_name": "DDIMScheduler",
            "beta_schedule": "linear",
            "num_train_timesteps": 1000,
            "beta_start": 1e-4,
            "beta_end": 0.02,
            "prediction_type": "epsilon",
        }
    ).encode()
    cards: dict[str, Any] = {
        "device": {"file": "/dev/zero"},
        "folder": {"file": "."},
        "pipe": {"file": "pipe.pt"},
        "nul": {"file": "a\0"},
        "long": {"file": "a" * 10**5},
        "digest": {"sha256": "x" * 10**5},
        "mode": {"mode": "x" * 10**5},
    }
    found: dict[str, tuple[str, Mapping[str, Content]]] = {}
    for name, changes in cards.items():
        entries = {
            "kind": "extractor",
            "file": "net.pt",
            "sha256": "0" * 64,
            "mode": "tf",
        } | changes
        found[name] = (
            "extractor",
            {"mine.json": json.dumps(entries).encode(), "net.pt": script(), "pipe.pt": os.mkfifo},
        )
    for name, content in {
        "nested": b"[" * 10**5,
        "number": b'{"a": ' + b"9" * 10**5 + b"}",
        "latin": b"\xff",
    }.items():
        found |= {name: ("extractor", {"mine.json": content})}
        found |= {f"base-{name}": ("base", {"w.safetensors": small, "w.json": content})}
        found |= {f"own-{name}": ("own", {"card.json": content, "weights.safetensors": small})}
    for name, config in {"unet": unet, "dit": dit}.items():
        weight = {"config.json": json.dumps(config).encode(), "scheduler_config.json": schedule}
        found[name] = "own", {**weight, "diffusion_pytorch_model.safetensors": small}
    return {
        **found,
        "own": ("own", {"card.json": json.dumps(own).encode(), "weights.safetensors": small}),
    }


def impostors() -> Crafted:
    """Folders, pipes and files without bytes under every suffix, and files of another kind."""
    readers = {
        "x.npz": "samples",
        "s.npz": "statistics",
        "s.pkl": "statistics",
        "x.zip": "samples",
        "w.pkl": "base",
        "w.pt": "base",
        "w.safetensors": "base",
        "w.pth": "dinov2",
        "mine.json": "extractor",
    }
    found: dict[str, tuple[str, Mapping[str, Content]]] = {}
    makers: dict[str, Content] = {
        "folder": os.mkdir,
        "pipe": os.mkfifo,
        "empty": b"",
        "dangling": lambda path: path.symlink_to("nowhere"),
        "device": lambda path: path.symlink_to("/dev/zero"),
        "image": image("PNG"),
        "page": b"<!DOCTYPE html>\n",
    }
    for name, reader in readers.items():
        for kind, make in makers.items():
            found[f"{kind}-{name}"] = reader, {name: make}
    return found
