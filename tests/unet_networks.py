"""Small networks of the kinds DDPM++, NCSN++ and ADM, with weights that any program can compute."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from study.models.by_class import network_of_class
from study.models.preconditioning import Preconditioned

M = TypeVar("M", bound=nn.Module)
SIDE = {
    "img_resolution": 8,
    "img_channels": 3,
    "label_dim": 3,
    "channel_mult": [1, 2],
    "num_blocks": 1,
}
NCSN = {"embedding_type": "fourier", "channel_mult_noise": 2, "resample_filter": [1, 3, 3, 1]}
DEEP = {"channel_mult": [1, 2, 1]}
SONG = {**SIDE, "model_type": "SongUNet", "model_channels": 8, "attn_resolutions": [4]}
ADM = {
    **SIDE,
    "model_type": "DhariwalUNet",
    "model_channels": 16,
    "channel_mult": [1, 4],
    "attn_resolutions": [4],
}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "DDPM++": ("VPPrecond", {**SONG, "augment_dim": 2}),
    "NCSN++": ("VEPrecond", {**SONG, **NCSN, **DEEP, "encoder_type": "residual"}),
    "skips": (
        "EDMPrecond",
        {**SONG, **NCSN, **DEEP, "encoder_type": "skip", "decoder_type": "skip"},
    ),
    "ADM": ("EDMPrecond", {**ADM, "augment_dim": 2}),
    "ADM, variances": ("iDDPMPrecond", ADM),
}


def fill(state: Mapping[str, Tensor]) -> None:
    """Weights that any program can compute: sines whose phases grow with the square of the
    index."""
    for number, name in enumerate(sorted(state)):
        tensor = state[name]
        if name.endswith("resample_filter"):
            continue
        index = torch.arange(tensor.numel(), dtype=torch.float64)
        wave = (0.7 * index**2 + number).sin().reshape(tensor.shape)
        scale = 2 / math.sqrt(tensor[0].numel()) if tensor.ndim > 1 else 0.3
        tensor.copy_(scale * wave + (1 if "norm" in name and name.endswith("weight") else 0))


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    x = (
        (0.3 * torch.arange(4 * 3 * 8 * 8, dtype=torch.float64) ** 2)
        .cos()
        .float()
        .reshape(4, 3, 8, 8)
    )
    return 2 * x, torch.tensor([0.3, 1.0, 2.5, 10.0]), torch.tensor([0, 2, -1, 1])


def small(name: str) -> Preconditioned:
    class_name, arguments = SMALL[name]
    denoiser = network_of_class(class_name, arguments).requires_grad_(False)
    denoiser.network.load_state_dict(weights(name))
    return denoiser


@cache
def weights(name: str) -> dict[str, Tensor]:
    state = network_of_class(*SMALL[name]).network.state_dict()
    fill(state)
    return state


def random(module: M, seed: int = 0) -> M:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.requires_grad_(False).parameters():
        parameter.copy_(
            0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1)
        )
    return module


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


every = pytest.mark.parametrize("name", SMALL)
