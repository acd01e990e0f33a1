"""Features of an untrained network, which knows no data set."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from degradations import InputError
from study.metrics.extractor import Extractor

WIDTH, SIDE = 32, 4


class RandomNetwork(Extractor):
    """64 features of an untrained convolutional network of images, its weights drawn once.

    Two 3×3 convolutions with SiLU, averages over a 4×4 grid, and a random projection; weights
    N(0, 1/fan_in). Such features judge without the classes or the data that a trained extractor has
    seen. 8-bit images u count as u/127.5 − 1. (Naeem et al. 2020, who used a VGG)
    """

    name, sha256 = "random", "random: 3×3 conv 32, 3×3 conv 64, 4×4 averages, 64 features, seed 0"
    dimensions: ClassVar[int | None] = 64

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or min(x.shape[2:]) < SIDE:
            raise InputError(
                f"extractor 'random': found samples of shape {list(x.shape[1:])}; accepted: images "
                f"[n, channels, height, width] of at least {SIDE}×{SIDE} pixels."
            )
        x = x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x
        first, second, last = (each.to(x.device) for each in _weights(x.shape[1]))
        h = nn.functional.silu(nn.functional.conv2d(x, first, padding=1))
        h = nn.functional.silu(nn.functional.conv2d(h, second, padding=1))
        return nn.functional.adaptive_avg_pool2d(h, SIDE).flatten(1) @ last


def _weights(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The weights for images of so many channels, the same at every call."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, fan_in: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / math.sqrt(fan_in)

    features = 2 * WIDTH * SIDE**2
    return (
        normal(WIDTH, channels, 3, 3, fan_in=9 * channels),
        normal(2 * WIDTH, WIDTH, 3, 3, fan_in=9 * WIDTH),
        normal(features, 64, fan_in=features),
    )
