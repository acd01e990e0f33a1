"""The magnitude-preserving UNet of EDM2, with its published names of parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, InputError, LabelSite, Site
from study.models.preconditioning import PRECISIONS, Network
from study.models.unet import columns

EPS = 1e-4  # of every normalisation
Resample = Literal["keep", "down", "up"]


class EDM2UNet(Network):
    """The UNet of configuration G (Karras et al. 2024, EDM2, figure 21, appendix B): no biases, no
    group norms.

    resolution: side of the square x; channels: of x; classes: 0 for none; width, multipliers:
    channels of each level; noise_multiplier, embedding_multiplier: of the noise features and of the
    embedding, in widths, by default the first and the largest of the multipliers; blocks: of each
    level; attention_at: sides of the maps that attend; the balances are the t of
    magnitude-preserving sums and concatenations.

    Weights are loaded as published and normalised once, then, so a loaded network holds w/(ε +
    rms(w))/√fan_in. Its sites: 'dropout' before the second convolution of every block, 'block' at
    its residual branches, 'attention', 'map' at its entry, 'label' where there are classes. Raises
    InputError for numbers that do not fit.
    """

    precisions = PRECISIONS

    def __init__(
        self,
        resolution: int,
        channels: int,
        classes: int,
        width: int = 192,
        multipliers: Sequence[int] = (1, 2, 3, 4),
        noise_multiplier: int | None = None,
        embedding_multiplier: int | None = None,
        blocks: int = 3,
        attention_at: Sequence[int] = (16, 8),
        label_balance: float = 0.5,
        concat_balance: float = 0.5,
        head_width: int = 64,
        residual_balance: float = 0.3,
        attention_balance: float = 0.3,
        clip: float | None = 256.0,
    ) -> None:
        super().__init__()
        widths, halved = [width * m for m in multipliers], len(multipliers) - 1
        if resolution % 2**halved:
            raise InputError(
                f"EDM2UNet: resolution {resolution}, wanted a multiple of {2**halved}, to be "
                f"halved {halved} times."
            )
        noise = width * (multipliers[0] if noise_multiplier is None else noise_multiplier)
        embedding = width * (
            max(multipliers) if embedding_multiplier is None else embedding_multiplier
        )
        self.label_balance, self.concat_balance = label_balance, concat_balance
        self.emb_fourier = _Fourier(noise)
        self.emb_noise = _Weight(noise, embedding)
        self.emb_label = _Weight(classes, embedding) if classes else None
        self.label = LabelSite(classes) if classes else None

        def block(
            before: int,
            after: int,
            flavor: Literal["enc", "dec"],
            attends: bool,
            resample: Resample,
        ) -> _Block:
            heads = after // head_width if attends else 0
            if heads and after % heads:
                raise InputError(
                    f"EDM2UNet: {after} channels cannot be divided among {heads} heads."
                )
            return _Block(
                before,
                after,
                embedding,
                flavor,
                heads,
                resample,
                residual_balance,
                attention_balance,
                clip,
            )

        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        sides = [resolution >> level for level in range(len(widths))]
        now = widths[0]
        self.enc[f"{resolution}x{resolution}_conv"] = _Weight(channels + 1, now, 3)
        skips = [now]
        for level, (side, after) in enumerate(zip(sides, widths, strict=True)):
            if level:
                self.enc[f"{side}x{side}_down"] = block(now, now, "enc", False, "down")
                skips.append(now)
            for index in range(blocks):
                self.enc[f"{side}x{side}_block{index}"] = block(
                    now, after, "enc", side in attention_at, "keep"
                )
                now = after
                skips.append(now)
        for level, (side, after) in reversed(list(enumerate(zip(sides, widths, strict=True)))):
            if level == len(widths) - 1:
                self.dec[f"{side}x{side}_in0"] = block(now, now, "dec", True, "keep")
                self.dec[f"{side}x{side}_in1"] = block(now, now, "dec", False, "keep")
            else:
                self.dec[f"{side}x{side}_up"] = block(now, now, "dec", False, "up")
            for index in range(blocks + 1):
                before = now + skips.pop()
                self.dec[f"{side}x{side}_block{index}"] = block(
                    before, after, "dec", side in attention_at, "keep"
                )
                now = after
        self.out_conv = _Weight(now, channels, 3)
        self.out_gain = nn.Parameter(torch.zeros([]))

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        embedding = self._embed(x, c_noise, condition, draws)
        # The convolutions have no biases: a channel of ones lets the first one have its own.
        h = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).contiguous(
            memory_format=torch.channels_last
        )
        skips: list[Tensor] = []
        for layer in self.enc.values():
            h = layer(h) if isinstance(layer, _Weight) else layer(h, embedding, draws)
            skips.append(h)
        for name, layer in self.dec.items():
            h = layer(
                _join(h, skips.pop(), self.concat_balance) if "block" in name else h,
                embedding,
                draws,
            )
        return self.out_conv(h) * self.out_gain.to(h.dtype)

    def _round(self, precision: torch.dtype) -> None:
        """Convolutions and attention; the embedding and what blocks make of it stay in fp32."""
        for module in self.modules():
            if isinstance(module, _Weight) and module.weight.ndim == 4:
                module.to(precision)

    def _embed(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        """What every block is told, [B or 1, embedding]."""
        embedding = self.emb_noise(self.emb_fourier(c_noise))
        if self.label is not None and self.emb_label is not None:
            column = self.emb_label.column(self.label(condition.labels(x), draws))
            embedding = _sum(embedding, column, self.label_balance)
        return _silu(embedding)


class _Weight(nn.Module):
    """A linear layer or convolution without bias of w/(ε + rms(w))/√fan_in, rms(w) per output (eq.
    47 and 66).

    The weight is normalised when it is loaded, and where it was already (as `state_dict` then says)
    it stays.
    """

    _version = 2

    def __init__(self, inputs: int, outputs: int, kernel: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *([kernel] * 2 if kernel else [])))
        self._normalise()

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            return nn.functional.linear(x, self.weight)
        return nn.functional.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)

    def column(self, index: Tensor) -> Tensor:
        """The layer of √inputs times the one-hot vector of an index, [B] → [B, outputs]; zero for
        −1."""
        return columns(self.weight, index) * math.sqrt(self.weight.shape[1])

    def _normalise(self) -> None:
        weight = self.weight.detach().float()
        fan_in = weight[0].numel()
        rms = weight.flatten(1).norm(dim=1) / math.sqrt(fan_in)
        scale = 1 / ((EPS + rms) * math.sqrt(fan_in))
        weight = (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).to(self.weight.dtype)
        # that of activations
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


class _Block(nn.Module):
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
        self.conv_res0 = _Weight(after if flavor == "enc" else before, after, 3)
        self.emb_linear = _Weight(embedding, after)
        self.conv_res1 = _Weight(after, after, 3)
        self.conv_skip = _Weight(before, after, 1) if before != after else None
        self.attn_qkv = _Weight(after, 3 * after, 1) if heads else None
        self.attn_proj = _Weight(after, after, 1) if heads else None
        self.map, self.dropout, self.block = Site("map"), Site("dropout"), Site("block")
        self.attention = Site("attention") if heads else None

    def forward(self, x: Tensor, embedding: Tensor, draws: Draws | None) -> Tensor:
        x = self.map(x, draws)
        if self.resample == "down":
            x = nn.functional.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        if self.flavor == "enc":
            x = _unit(x if self.conv_skip is None else self.conv_skip(x), dim=1)
        scale = (self.emb_linear(embedding) * self.emb_gain + 1)[:, :, None, None].to(x.dtype)
        h = self.dropout(_silu(self.conv_res0(_silu(x)) * scale), draws)
        h = self.block(self.conv_res1(h), draws)
        if self.flavor == "dec" and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = _sum(x, h, self.residual_balance)
        if self.heads:
            x = _sum(x, self.block(self._attend(x, draws), draws), self.attention_balance)
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def _attend(self, x: Tensor, draws: Draws | None) -> Tensor:
        """Self-attention with q, k and v of unit magnitude per head and position."""
        assert self.attn_qkv is not None
        assert self.attn_proj is not None
        assert self.attention is not None
        # The layer's channels are in the order heads, features, (q, k, v); attention wants [B,
        # heads, H·W, features].
        qkv = self.attn_qkv(x).flatten(2).unflatten(1, (self.heads, -1, 3))
        # as fused kernels want them
        q, k, v = _unit(qkv, dim=2).permute(3, 0, 1, 4, 2).contiguous()
        if self.attention.actions:
            attention = self.attention((q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1), draws)
            found = attention @ v
        else:
            found = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.attn_proj(
            found.mT.reshape(x.shape).contiguous(memory_format=torch.channels_last)
        )


class _Fourier(nn.Module):
    """√2·cos(f·c + φ), f and φ drawn once (eq. 75); c: [B] → [B, features]."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(features))
        self.register_buffer("phases", 2 * math.pi * torch.rand(features))

    def forward(self, c: Tensor) -> Tensor:
        return math.sqrt(2) * torch.addcmul(self.phases, c[:, None].float(), self.freqs).cos()


def _unit(x: Tensor, dim: int) -> Tensor:
    """x/(ε + rms(x)) over an axis (eq. 30)."""
    rms = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=torch.float32) / math.sqrt(
        x.shape[dim]
    )
    return x / (rms + EPS).to(x.dtype)


def _silu(x: Tensor) -> Tensor:
    """SiLU, scaled to keep the magnitude of a standard normal (eq. 81)."""
    return nn.functional.silu(x) / 0.596


def _sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """((1 − t)·a + t·b)/√((1 − t)² + t²) (eq. 88)"""
    return a.lerp(b, t) / math.hypot(1 - t, t)


def _join(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Channels of a and of b, each in its share t of the magnitude whatever their numbers (eq.
    103)."""
    total = math.sqrt((a.shape[1] + b.shape[1]) / ((1 - t) ** 2 + t**2))
    return torch.cat(
        [a * (total * (1 - t) / math.sqrt(a.shape[1])), b * (total * t / math.sqrt(b.shape[1]))],
        dim=1,
    )
