"""What the U-Nets DDPM++, NCSN++ and ADM share, with the names of parameters under which EDM
published them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from degradations import Condition, Draws, InputError, LabelSite, Site
from study.models.preconditioning import PRECISIONS, Network

Way = Literal["keep", "down", "up"]


@dataclass(frozen=True)
class Style:
    """In what the blocks of one U-Net differ from another's (Karras et al. 2022, table 7).

    embedding: its width; eps: of the group norms; adaptive: whether the embedding scales and shifts
    the normalised features, or is added to them before; gain: of every residual sum; project:
    whether a resampled shortcut passes a convolution even where the channels stay; head_width:
    channels a head of attention, None for a single head; taps: of the resampling filter.
    """

    embedding: int
    eps: float
    adaptive: bool
    gain: float
    project: bool
    head_width: int | None
    taps: tuple[float, ...] = (1.0, 1.0)


class UNet(Network, ABC):
    """A U-Net: `blocks` blocks a level down, `blocks` + 1 a level up, each of these fed one of the
    maps from below.

    resolution: side of the square x; channels: of x; out_channels: of the output, of which the
    first `channels` are the answer (what ADM learned of variances is left out); classes: 0 for
    none; stem: channels of the first map; widths: channels of each level; attention_at: sides of
    the maps that attend, last_only: and on the way up only in the last block of their level.
    Weights start as PyTorch's do: these networks are here to be loaded. Its sites: 'map' at the
    entry of every block, 'dropout' before its last convolution, 'block' at its residual branches,
    'attention', and 'label' where there are classes. Raises InputError for numbers that do not fit
    together.
    """

    precisions = PRECISIONS

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
                f"{type(self).__name__}: resolution {resolution}, wanted a multiple of "
                f"{2 ** (len(widths) - 1)}, to be halved {len(widths) - 1} times."
            )
        self.channels, self.blocks = channels, blocks
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
        """What every block is told, [B or 1, embedding]; label: [B], None where there are no
        classes."""
        raise NotImplementedError

    def enter(self, side: int, h: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        """The features of a level, just reached on the way down, and what runs beside them, at
        first x."""
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
        """All but the embedding and linear layers, which stay in fp32 as published."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.GroupNorm, Resample)):
                module.to(precision)


class Block(nn.Module):
    """Norm, SiLU, convolution, embedding, norm, SiLU, dropout, convolution; plus shortcut; then
    self-attention, or not.

    x: [B, before, H, W] → [B, after, H, W], or half or twice the sides, resampled ahead of the
    first convolution and in the shortcut. (Ho et al. 2020, appendix B; adaptive: Dhariwal & Nichol
    2021, § 3.1; as in Karras et al. 2022, appendix F)
    """

    def __init__(
        self, before: int, after: int, style: Style, attends: bool = False, way: Way = "keep"
    ) -> None:
        super().__init__()
        self.adaptive, self.gain = style.adaptive, style.gain
        self.norm0 = group_norm(before, style.eps)
        self.conv0 = Conv(before, after, 3, way, style.taps)
        self.affine = nn.Linear(style.embedding, after * (2 if style.adaptive else 1))
        self.norm1 = group_norm(after, style.eps)
        self.conv1 = Conv(after, after, 3)
        self.skip: nn.Module | None = None
        if before != after or (way != "keep" and style.project):
            self.skip = Conv(before, after, 1, way, style.taps)
        elif way != "keep":
            self.skip = Resample(way, style.taps)
        self.map, self.dropout, self.block = Site("map"), Site("dropout"), Site("block")
        # Narrower than a single head, a block of ADM does not attend, wherever it is.
        self.heads = (
            0 if not attends else 1 if style.head_width is None else after // style.head_width
        )
        if self.heads:
            if after % self.heads:
                raise InputError(
                    f"U-Net: {after} channels are not a multiple of their {self.heads} heads of "
                    "attention."
                )
            self.norm2 = group_norm(after, style.eps)
            self.qkv = Conv(after, 3 * after, 1)
            self.proj = Conv(after, after, 1)
            self.attention = Site("attention")

    def forward(self, x: Tensor, embedding: Tensor, draws: Draws | None) -> Tensor:
        x = self.map(x, draws)
        h = self.conv0(silu(self.norm0(x)))
        told = self.affine(embedding)[:, :, None, None].to(h.dtype)
        if self.adaptive:
            scale, shift = told.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm1(h), 1 + scale)
        else:
            h = self.norm1(h + told)
        h = self.block(self.conv1(self.dropout(silu(h), draws)), draws)
        x = self._sum(x if self.skip is None else self.skip(x), h)
        return self._sum(x, self.block(self._attend(x, draws), draws)) if self.heads else x

    def _sum(self, x: Tensor, branch: Tensor) -> Tensor:
        return x + branch if self.gain == 1 else (x + branch) * self.gain

    def _attend(self, x: Tensor, draws: Draws | None) -> Tensor:
        """softmax(q kᵀ/√d) v between positions, its map through the attention site; q, k, v: [B,
        heads, H·W, d]."""
        # The channels of the layer are in the order heads, d, (q, k, v). The fused kernels want d
        # innermost in memory.
        q, k, v = (
            self.qkv(self.norm2(x))
            .flatten(2)
            .unflatten(1, (self.heads, -1, 3))
            .permute(3, 0, 1, 4, 2)
            .contiguous()
        )
        if self.attention.actions:
            wide = torch.promote_types(q.dtype, torch.float32)  # as within the fused kernels
            attention = (
                (q.to(wide) @ k.to(wide).mT / math.sqrt(q.shape[-1])).softmax(dim=-1).to(q.dtype)
            )
            found = self.attention(attention, draws) @ v
        else:
            found = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(found.mT.reshape(x.shape))


class Conv(nn.Conv2d):
    """A convolution that keeps the sides, after its input is resampled; `ahead`: before its output
    is.

    The order matters at the edges and between pixels: NCSN++ filters what it has convolved. (Song
    et al. 2021, § H.1)
    """

    resample_filter: Tensor | None

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int,
        way: Way = "keep",
        taps: Sequence[float] = (1, 1),
        ahead: bool = False,
    ) -> None:
        # What the filter wants around its input is convolved too, not filled with zeros.
        super().__init__(
            before, after, kernel, padding=kernel // 2 + (len(taps) // 2 - 1 if ahead else 0)
        )
        self.way: Way = way
        self.ahead = ahead
        self.register_buffer("resample_filter", None if way == "keep" else _filter(taps))

    def forward(self, x: Tensor) -> Tensor:
        if self.resample_filter is None:
            return super().forward(x)
        if self.ahead:
            return _resample(super().forward(x), self.resample_filter, self.way, padded=True)
        return super().forward(_resample(x, self.resample_filter, self.way))


class Resample(nn.Module):
    """Half ('down') or twice ('up') the sides of [B, C, H, W], every channel through the filter of
    the taps."""

    resample_filter: Tensor

    def __init__(self, way: Way, taps: Sequence[float] = (1, 1)) -> None:
        super().__init__()
        self.way: Way = way
        self.register_buffer("resample_filter", _filter(taps))

    def forward(self, x: Tensor) -> Tensor:
        return _resample(x, self.resample_filter, self.way)


class Positional(nn.Module):
    """Angles c·10000^(−k/n), k = 0 … n − 1, n = features/2, [B] → [B, n]; k/(n − 1) where the last
    is an endpoint.

    (Vaswani et al. 2017, § 3.5) Raises InputError for features that are not an even number from 4
    on.
    """

    def __init__(self, features: int, endpoint: bool) -> None:
        super().__init__()
        self.n, self.endpoint = _half(features), endpoint

    def forward(self, c: Tensor) -> Tensor:
        # In float32 whatever c is: c is as large as 1000, so a better rounded frequency would be
        # another angle.
        k = torch.arange(self.n, dtype=torch.float32, device=c.device)
        return c[:, None] * ((1 / 10000) ** (k / (self.n - self.endpoint))).to(c.dtype)


class Fourier(nn.Module):
    """Angles 2πf·c, f ~ N(0, 16²) drawn once, [B] → [B, features/2]. (Tancik et al. 2020; Song et
    al. 2021, § C.2)

    Raises InputError for features that are not an even number from 4 on.
    """

    freqs: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 16 * torch.randn(_half(features)))

    def forward(self, c: Tensor) -> Tensor:
        return c[:, None] * (2 * math.pi * self.freqs).to(c.dtype)


def at(side: int, name: str) -> str:
    """The published name of a layer of the level of a side."""
    return f"{side}x{side}_{name}"


def columns(weight: Tensor, label: Tensor) -> Tensor:
    """W times the one-hot vectors of labels: [outputs, classes], [B] → [B, outputs], zero for
    −1."""
    return weight.T[label.clamp(min=0)] * (label >= 0).to(weight.dtype)[:, None]


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """Of 32 groups, or fewer so that each has 4 channels. Raises InputError for channels that the
    groups do not divide."""
    groups = min(32, channels // 4)
    if not groups or channels % groups:
        raise InputError(
            f"U-Net: {channels} channels cannot be normalised in {groups} groups; wanted are "
            "multiples of 4, from 128 on of 32."
        )
    return nn.GroupNorm(groups, channels, eps)


def _half(features: int) -> int:
    if features < 4 or features % 2:
        raise InputError(
            f"U-Net: {features} features of the noise level, wanted an even number from 4 on."
        )
    return features // 2


def _filter(taps: Sequence[float]) -> Tensor:
    """The outer product of the taps with themselves, its sum 1: [1, 1, n, n]. Raises InputError for
    an odd number."""
    f = torch.as_tensor(taps, dtype=torch.float32)
    if len(taps) % 2:
        raise InputError(f"U-Net: a resampling filter of {len(taps)} taps, wanted an even number.")
    return (torch.outer(f, f) / f.sum() ** 2)[None, None]


def _resample(x: Tensor, kernel: Tensor, way: Way, padded: bool = False) -> Tensor:
    """x: [B, C, H, W]; padded: whether x already has the margin that the filter wants, else it is
    filled with zeros."""
    channels, margin = x.shape[1], 0 if padded else kernel.shape[-1] // 2 - 1
    kernel = kernel.expand(channels, -1, -1, -1)
    if way == "down":
        return nn.functional.conv2d(x, kernel, stride=2, padding=margin, groups=channels)
    # One of four pixels is given, the others are zero: four times the filter keeps the mean.
    return nn.functional.conv_transpose2d(x, 4 * kernel, stride=2, padding=margin, groups=channels)
