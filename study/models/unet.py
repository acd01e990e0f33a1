"""What the U-Nets DDPM++, NCSN++ and ADM share, with EDM's published parameter names."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, InputError, LabelSite
from study.models.preconditioning import PRECISIONS, Network
from study.models.unet_blocks import Block, Conv, Resample, Style


class UNet(Network, ABC):
    """A U-Net: `blocks` blocks per level down, `blocks` + 1 per level up, with skip connections.

    resolution: side of the square x; channels: of x; out_channels: of the output, of which the
    first `channels` are the estimate (the rest, ADM's learned variances, are dropped); classes: 0
    for none; stem: channels of the first map; widths: channels of each level; attention_at: sides
    of the maps with attention; last_only: on the way up, attention only in the last block of a
    level. Weights start as PyTorch's do; see `begin`. Its sites:
    'map' at the entry of every block, 'dropout' before its last convolution, 'block' at its
    residual branches, 'attention', and 'label' if there are classes. Raises InputError if the
    numbers do not fit together.
    """

    precisions = PRECISIONS
    takes_time: ClassVar[bool] = True

    def __init__(
        self,
        resolution: int,
        channels: int,
        out_channels: int,
        classes: int,
        stem: int,
        widths: Sequence[int],
        blocks: int,
        attention_at: Sequence[int],
        last_only: bool,
        style: Style,
    ) -> None:
        super().__init__()
        if resolution % 2 ** (len(widths) - 1):
            raise InputError(
                f"{type(self).__name__}: found resolution {resolution}; accepted: multiples of "
                f"{2 ** (len(widths) - 1)}, to be halved {len(widths) - 1} times."
            )
        self.channels, self.blocks, self.crops = channels, blocks, 2 ** (len(widths) - 1)
        self.sides = [resolution >> level for level in range(len(widths))]
        self.label = LabelSite(classes) if classes else None
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        now, skips = stem, [stem]
        self.enc[at(resolution, "conv")] = Conv(channels, stem, 3)
        for level, (side, width) in enumerate(zip(self.sides, widths, strict=True)):
            if level:
                self.enc[at(side, "down")] = Block(now, now, style, way="down")
                skips.append(now)
            for index in range(blocks):
                self.enc[at(side, f"block{index}")] = Block(
                    now, width, style, attends=side in attention_at
                )
                now = width
                skips.append(now)
        self.dec[at(self.sides[-1], "in0")] = Block(now, now, style, attends=True)
        self.dec[at(self.sides[-1], "in1")] = Block(now, now, style)
        for side, width in zip(self.sides[::-1], widths[::-1], strict=True):
            if side != self.sides[-1]:
                self.dec[at(side, "up")] = Block(now, now, style, way="up")
            for index in range(blocks + 1):
                attends = side in attention_at and (index == blocks or not last_only)
                self.dec[at(side, f"block{index}")] = Block(
                    now + skips.pop(), width, style, attends
                )
                now = width

    @abstractmethod
    def embed(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        """The embedding for every block, [B or 1, embedding].

        label: [B], None if there are no classes.
        """
        raise NotImplementedError

    def enter(self, side: int, h: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        """The features of a level, on the way down, and its second input, at first x.

        beside: the second input of the level above.
        """
        return h, beside

    @abstractmethod
    def read(self, side: int, h: Tensor, out: Tensor | None) -> Tensor | None:
        """The output so far, after a level on the way up; out: the output before it."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        label = None if self.label is None else self.label(condition.labels(x), draws)
        embedding = self.embed(c_noise, label)
        h, beside, skips = self.enc[at(self.sides[0], "conv")](x), x, []
        for level, side in enumerate(self.sides):
            if level:
                h, beside = self.enter(
                    side, self.enc[at(side, "down")](h, embedding, draws), beside
                )
            skips.append(h)
            for index in range(self.blocks):
                h = self.enc[at(side, f"block{index}")](h, embedding, draws)
                skips.append(h)
        for name in ("in0", "in1"):
            h = self.dec[at(self.sides[-1], name)](h, embedding, draws)
        out: Tensor | None = None
        for side in reversed(self.sides):
            if side != self.sides[-1]:
                h = self.dec[at(side, "up")](h, embedding, draws)
            for index in range(self.blocks + 1):
                h = self.dec[at(side, f"block{index}")](
                    torch.cat([h, skips.pop()], dim=1), embedding, draws
                )
            out = self.read(side, h, out)
        assert out is not None
        return out[:, : self.channels]

    def _round(self, precision: torch.dtype) -> None:
        """Round all but the embedding and linear layers, which stay in fp32 as published."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.GroupNorm, Resample)):
                module.to(precision)


def begin(network: UNet) -> None:
    """Set the last layer of every residual branch to zero, as a training begins."""
    for block in network.modules():
        if isinstance(block, Block):
            for last in (block.conv1, *([block.proj] if block.heads else [])):
                nn.init.zeros_(last.weight)


class Positional(nn.Module):
    """Angles c·10000^(−k/n), k = 0 … n − 1, n = features/2, [B] → [B, n].

    With `endpoint` k/(n − 1) instead of k/n. (Vaswani et al. 2017, § 3.5) Raises InputError unless
    features is an even number, at least 4.
    """

    def __init__(self, features: int, endpoint: bool) -> None:
        super().__init__()
        self.n, self.endpoint = _half(features), endpoint

    def forward(self, c: Tensor) -> Tensor:
        # In float32 for any c: c can be 1000, so frequencies of higher precision would give other
        # angles than in training.
        k = torch.arange(self.n, dtype=torch.float32, device=c.device)
        return c[:, None] * ((1 / 10000) ** (k / (self.n - self.endpoint))).to(c.dtype)


class Fourier(nn.Module):
    """Angles 2πf·c, f ~ N(0, 16²) drawn once, [B] → [B, features/2].

    (Tancik et al. 2020; Song et al. 2021, § C.2) Raises InputError unless features is an even
    number, at least 4.
    """

    freqs: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 16 * torch.randn(_half(features)))

    def forward(self, c: Tensor) -> Tensor:
        return c[:, None] * (2 * math.pi * self.freqs).to(c.dtype)


def at(side: int, name: str) -> str:
    """The published name of a layer at the level of a side."""
    return f"{side}x{side}_{name}"


def columns(weight: Tensor, label: Tensor) -> Tensor:
    """W times the one-hot vectors of labels: [outputs, classes], [B] → [B, outputs].

    Zero for −1.
    """
    return weight.T[label.clamp(min=0)] * (label >= 0).to(weight.dtype)[:, None]


def _half(features: int) -> int:
    if features < 4 or features % 2:
        raise InputError(
            f"U-Net: found {features} features of the noise level; accepted: an even number, at "
            "least 4."
        )
    return features // 2
