"""Pickles in the layout of EDM2's with small random networks."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from degradations import Site
from study.models.by_class import network_of_class
from tests.pickle_files import Call, EasyDict, _reconstruct_persistent_obj, dumps, meta

ARGUMENTS = {
    "img_resolution": 8,
    "img_channels": 4,
    "label_dim": 3,
    "use_fp16": True,
    "sigma_data": 0.5,
    "model_channels": 8,
    "channel_mult": [1, 2],
    "channels_per_head": 8,
    "num_blocks": 1,
    "attn_resolutions": [4],
}


def persistent(module: nn.Module, name: str, arguments: dict[str, Any] | None = None) -> Any:
    """A module as the public pickles hold it: its class's name and its state, and sources that must
    not be run."""
    children = OrderedDict(
        (key, persistent(each, type(each).__name__))
        for key, each in module.named_children()
        if not isinstance(each, Site)
    )
    state = {
        "_parameters": OrderedDict(module._parameters),
        "_buffers": OrderedDict(module._buffers),
        "_modules": children,
        "training": False,
        "_init_args": (),
        "_init_kwargs": EasyDict(arguments or {}),
    }
    return Call(
        _reconstruct_persistent_obj,
        meta(class_name=name, module_src="raise SystemExit", state=state),
    )


def write_checkpoint(path: Path, seed: int, latents: bool = True) -> dict[str, Tensor]:
    """A pickle in the layout of EDM2's with a random network, and its tensors."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        denoiser = network_of_class("Precond", ARGUMENTS)
        for name, parameter in denoiser.network.named_parameters():
            parameter.data = (
                torch.rand([]) + 0.5
                if name.endswith("gain")
                else torch.randn_like(parameter).half()
            )
    outer = nn.Module()
    outer.unet = denoiser.network
    outer.logvar_linear = nn.Linear(2, 1)
    encoder = persistent(nn.Module(), "StabilityVAEEncoder" if latents else "StandardRGBEncoder")
    path.write_bytes(dumps(EasyDict(ema=persistent(outer, "Precond", ARGUMENTS), encoder=encoder)))
    return dict(denoiser.network.state_dict())
