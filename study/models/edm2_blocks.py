"""The magnitude-preserving layers and blocks of EDM2 (Karras et al. 2024, EDM2, appendix B)."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from degradations import Draws, Site
from study.models.unet import columns

EPS = 1e-4  # of every normalisation
Resample = Literal["keep", "down", "up"]


class Weight(nn.Module):
    """A linear layer or convolution without bias, with weight w/(ε + rms(w))/√fan_in.

    rms(w) is per output (eq. 47 and 66). The weight is normalised when it is loaded, unless the
    version in the `state_dict` says that it already is. In training, from `begin` on, it is
    normalised at every call, and forced back to rms(w) = 1 before (appendix B.4).
    """

    _version = 2

    def __init__(self, inputs: int, outputs: int, kernel: int = 0) -> None:
        super().__init__()
        self.trains = False
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *([kernel] * 2 if kernel else [])))
        self._normalise()

    def begin(self) -> None:
        """Draw a weight of rms 1 to be trained."""
        self.trains = True
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        weight = self._trained() if self.trains else self.weight
        if weight.ndim == 2:
            return nn.functional.linear(x, weight)
        return nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def column(self, index: Tensor) -> Tensor:
        """The layer applied to √inputs times a one-hot vector, [B] → [B, outputs]; zero for −1."""
        weight = self._trained() if self.trains else self.weight
        return columns(weight, index) * math.sqrt(weight.shape[1])

    def _trained(self) -> Tensor:
        """The normalised weight, through which gradients flow."""
        root = math.sqrt(self.weight[0].numel())
        if self.training and torch.is_grad_enabled():
            with torch.no_grad():
                self.weight.copy_(_normalised(self.weight) * root)
        return _normalised(self.weight)

    def _normalise(self) -> None:
        self.trains = False
        weight = self.weight.detach()
        if not weight.is_meta:  # which has no values
            weight = _normalised(weight.float()).to(self.weight.dtype)
        # the layout of activations
        layout = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
        self.weight.data = weight.contiguous(memory_format=layout)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        *rest: Any,
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        if local_metadata.get("version") != self._version:
            self._normalise()


def _normalised(weight: Tensor) -> Tensor:
    """w/(ε + rms(w))/√fan_in, rms per output."""
    root = math.sqrt(weight[0].numel())
    rms = weight.flatten(1).norm(dim=1) / root
    return weight * (1 / ((EPS + rms) * root)).reshape(-1, *[1] * (weight.ndim - 1))


class Block(nn.Module):
    """A block of the encoder or decoder, with self-attention where it has heads (figure 21)."""

    def __init__(
        self,
        before: int,
        after: int,
        embedding: int,
        flavor: Literal["enc", "dec"],
        heads: int,
        resample: Resample,
        residual_balance: float,
        attention_balance: float,
        clip: float | None,
    ) -> None:
        super().__init__()
        self.flavor, self.heads, self.resample, self.clip = flavor, heads, resample, clip
        self.residual_balance, self.attention_balance = residual_balance, attention_balance
        self.emb_gain = nn.Parameter(torch.zeros([]))
        self.conv_res0 = Weight(after if flavor == "enc" else before, after, 3)
        self.emb_linear = Weight(embedding, after)
        self.conv_res1 = Weight(after, after, 3)
        self.conv_skip = Weight(before, after, 1) if before != after else None
        self.attn_qkv = Weight(after, 3 * after, 1) if heads else None
        self.attn_proj = Weight(after, after, 1) if heads else None
        self.map, self.dropout, self.block = Site("map"), Site("dropout"), Site("block")
        self.attention = Site("attention") if heads else None

    def forward(self, x: Tensor, embedding: Tensor, draws: Draws | None) -> Tensor:
        x = self.map(x, draws)
        if self.resample == "down":
            x = nn.functional.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        if self.flavor == "enc":
            x = unit(x if self.conv_skip is None else self.conv_skip(x), dim=1)
        scale = (self.emb_linear(embedding) * self.emb_gain + 1)[:, :, None, None].to(x.dtype)
        h = self.dropout(mp_silu(self.conv_res0(mp_silu(x)) * scale), draws)
        h = self.block(self.conv_res1(h), draws)
        if self.flavor == "dec" and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = mp_sum(x, h, self.residual_balance)
        if self.heads:
            x = mp_sum(x, self.block(self._attend(x, draws), draws), self.attention_balance)
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def _attend(self, x: Tensor, draws: Draws | None) -> Tensor:
        """Self-attention with q, k and v of unit magnitude per head and position."""
        assert self.attn_qkv is not None
        assert self.attn_proj is not None
        assert self.attention is not None
        # The layer's channels are in the order heads, features, (q, k, v); attention needs [B,
        # heads, H·W, features].
        qkv = self.attn_qkv(x).flatten(2).unflatten(1, (self.heads, -1, 3))
        # contiguous, for the fused kernels
        q, k, v = unit(qkv, dim=2).permute(3, 0, 1, 4, 2).contiguous()
        if self.attention.actions:
            attention = self.attention((q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1), draws)
            found = attention @ v
        else:
            found = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.attn_proj(
            found.mT.reshape(x.shape).contiguous(memory_format=torch.channels_last)
        )


class Fourier(nn.Module):
    """√2·cos(f·c + φ), f and φ drawn once (eq. 75); c: [B] → [B, features]."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(features))
        self.register_buffer("phases", 2 * math.pi * torch.rand(features))

    def forward(self, c: Tensor) -> Tensor:
        return math.sqrt(2) * torch.addcmul(self.phases, c[:, None].float(), self.freqs).cos()


def unit(x: Tensor, dim: int) -> Tensor:
    """x/(ε + rms(x)) over an axis (eq. 30)."""
    rms = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=torch.float32) / math.sqrt(
        x.shape[dim]
    )
    return x / (rms + EPS).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """SiLU, scaled to keep the magnitude of a standard normal (eq. 81)."""
    return nn.functional.silu(x) / 0.596


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """((1 − t)·a + t·b)/√((1 − t)² + t²) (eq. 88)."""
    return a.lerp(b, t) / math.hypot(1 - t, t)


def mp_cat(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Channels of a and b, each with its share t of the magnitude, however many (eq. 103)."""
    total = math.sqrt((a.shape[1] + b.shape[1]) / ((1 - t) ** 2 + t**2))
    return torch.cat(
        [a * (total * (1 - t) / math.sqrt(a.shape[1])), b * (total * t / math.sqrt(b.shape[1]))],
        dim=1,
    )
