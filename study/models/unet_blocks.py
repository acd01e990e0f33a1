"""The residual blocks of a U-Net, and the convolutions and filters that they are made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from degradations import Draws, InputError, Site

Way = Literal["keep", "down", "up"]


@dataclass(frozen=True)
class Style:
    """The differences between the blocks of U-Nets (Karras et al. 2022, table 7).

    embedding: its width; eps: of the group norms; adaptive: whether the embedding scales and shifts
    the normalised features, or is added to the features before the norm; gain: of every residual
    sum; project: whether a resampled shortcut has a convolution even if the channels stay;
    head_width: channels per attention head, None for a single head; taps: of the resampling filter.
    """

    embedding: int
    eps: float
    adaptive: bool
    gain: float
    project: bool
    head_width: int | None
    taps: tuple[float, ...] = (1.0, 1.0)


class Block(nn.Module):
    """Norm, SiLU, convolution, embedding, norm, SiLU, dropout, convolution; plus shortcut.

    Then self-attention, if `attends`. x: [B, before, H, W] → [B, after, H, W], or half or twice the
    sides, resampled before the first convolution and in the shortcut. (Ho et al. 2020, appendix B;
    adaptive: Dhariwal & Nichol 2021, § 3.1; as in Karras et al. 2022, appendix F)
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
        # A block of ADM that is narrower than one head has no attention.
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
        modulation = self.affine(embedding)[:, :, None, None].to(h.dtype)
        if self.adaptive:
            scale, shift = modulation.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm1(h), 1 + scale)
        else:
            h = self.norm1(h + modulation)
        h = self.block(self.conv1(self.dropout(silu(h), draws)), draws)
        x = self._sum(x if self.skip is None else self.skip(x), h)
        return self._sum(x, self.block(self._attend(x, draws), draws)) if self.heads else x

    def _sum(self, x: Tensor, branch: Tensor) -> Tensor:
        return x + branch if self.gain == 1 else (x + branch) * self.gain

    def _attend(self, x: Tensor, draws: Draws | None) -> Tensor:
        """softmax(q kᵀ/√d) v through the attention site; q, k, v: [B, heads, H·W, d]."""
        # The channels of the layer are in the order heads, d, (q, k, v). The fused kernels need d
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
    """A convolution that keeps the sides, after its input is resampled.

    `ahead`: the convolution comes first, and its output is resampled. The order matters at the
    edges and between pixels: NCSN++ convolves before it filters. (Song et al. 2021, § H.1)
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
        # The filter's margin around its input is convolved too, not filled with zeros.
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
    """Half ('down') or twice ('up') the sides of [B, C, H, W], filtered per channel by the taps."""

    resample_filter: Tensor

    def __init__(self, way: Way, taps: Sequence[float] = (1, 1)) -> None:
        super().__init__()
        self.way: Way = way
        self.register_buffer("resample_filter", _filter(taps))

    def forward(self, x: Tensor) -> Tensor:
        return _resample(x, self.resample_filter, self.way)


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """A group norm of 32 groups, or fewer so that each has 4 channels.

    Raises InputError if the groups do not divide the channels.
    """
    groups = min(32, channels // 4)
    if not groups or channels % groups:
        raise InputError(
            f"U-Net: found {channels} channels to be normalised in {groups} groups; accepted: "
            "multiples of 4, from 128 on of 32."
        )
    return nn.GroupNorm(groups, channels, eps)


def _filter(taps: Sequence[float]) -> Tensor:
    """The outer product of the taps with themselves, with sum 1: [1, 1, n, n].

    Raises InputError if their number is odd.
    """
    f = torch.as_tensor(taps, dtype=torch.float32)
    if len(taps) % 2:
        raise InputError(
            f"U-Net: found a resampling filter of {len(taps)} taps; accepted: an even number."
        )
    return (torch.outer(f, f) / f.sum() ** 2)[None, None]


def _resample(x: Tensor, kernel: Tensor, way: Way, padded: bool = False) -> Tensor:
    """x, [B, C, H, W], at half or twice its sides.

    padded: whether x already has the margin that the filter needs; otherwise zeros are added.
    """
    channels, margin = x.shape[1], 0 if padded else kernel.shape[-1] // 2 - 1
    kernel = kernel.expand(channels, -1, -1, -1)
    if way == "down":
        return nn.functional.conv2d(x, kernel, stride=2, padding=margin, groups=channels)
    # One pixel in four is given, the others are zero: four times the filter keeps the mean.
    return nn.functional.conv_transpose2d(x, 4 * kernel, stride=2, padding=margin, groups=channels)
