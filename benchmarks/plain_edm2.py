"""EDM2's network written down plainly, formula by formula, as a function of its published tensors.

Every weight is normalised whenever it is used and attention forms its map: what `study.models.edm2`
is compared with, in values by the tests and in speed by `bench_edm2.py`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as nf


def denoise(
    w: Mapping[str, Tensor], x: Tensor, sigma: Tensor, onehot: Tensor, sigma_data: float = 0.5
) -> Tensor:
    """D(x; σ, c) by EDM2's defaults: 64 channels a head, balances 0.3, 0.5. x: [B, C, H, W],
    onehot: [B, classes]."""
    s = sigma.reshape(-1, 1, 1, 1)
    total = s**2 + sigma_data**2
    f = _unet(w, x / total.sqrt(), s.flatten().log() / 4, onehot)
    return sigma_data**2 / total * x + s * sigma_data / total.sqrt() * f


def _unet(w: Mapping[str, Tensor], x: Tensor, c_noise: Tensor, onehot: Tensor) -> Tensor:
    waves = (
        math.sqrt(2) * (c_noise[:, None] * w["emb_fourier.freqs"] + w["emb_fourier.phases"]).cos()
    )
    noise = waves @ _normal(w["emb_noise.weight"]).T
    label = onehot * math.sqrt(onehot.shape[1]) @ _normal(w["emb_label.weight"]).T
    emb = _silu(_sum(noise, label, 0.5))
    h, skips = torch.cat([x, torch.ones_like(x[:, :1])], 1), []
    for name in _blocks(w, "enc"):
        h = _conv(h, w[f"{name}.weight"]) if name.endswith("conv") else _block(w, name, h, emb)
        skips.append(h)
    for name in _blocks(w, "dec"):
        if "block" in name:
            skip = skips.pop()
            a, b = h.shape[1], skip.shape[1]
            h = math.sqrt((a + b) / 2) * torch.cat([h / math.sqrt(a), skip / math.sqrt(b)], 1)
        h = _block(w, name, h, emb)
    return _conv(h, w["out_conv.weight"]) * w["out_gain"]


def _blocks(w: Mapping[str, Tensor], part: str) -> list[str]:
    return list(
        dict.fromkeys(".".join(name.split(".")[:2]) for name in w if name.startswith(f"{part}."))
    )


def _block(w: Mapping[str, Tensor], name: str, x: Tensor, emb: Tensor) -> Tensor:
    if name.endswith("down"):
        x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    if name.endswith("up"):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    skip = w.get(f"{name}.conv_skip.weight")
    if name.startswith("enc"):
        x = x if skip is None else _conv(x, skip)
        x = x / (1e-4 + (x**2).mean(1, keepdim=True).sqrt())
    h = _conv(_silu(x), w[f"{name}.conv_res0.weight"])
    scale = emb @ _normal(w[f"{name}.emb_linear.weight"]).T * w[f"{name}.emb_gain"] + 1
    h = _conv(_silu(h * scale[:, :, None, None]), w[f"{name}.conv_res1.weight"])
    if name.startswith("dec") and skip is not None:
        x = _conv(x, skip)
    x = _sum(x, h, 0.3)
    if f"{name}.attn_qkv.weight" in w:
        heads = x.shape[1] // 64
        qkv = _conv(x, w[f"{name}.attn_qkv.weight"]).reshape(len(x), heads, 64, 3, -1)
        q, k, v = (qkv / (1e-4 + (qkv**2).mean(2, keepdim=True).sqrt())).unbind(3)
        attention = torch.einsum("bhcq,bhck->bhqk", q, k / 8).softmax(3)
        h = torch.einsum("bhqk,bhck->bhcq", attention, v).reshape(x.shape)
        x = _sum(x, _conv(h, w[f"{name}.attn_proj.weight"]), 0.3)
    return x.clamp(-256, 256)


def _normal(weight: Tensor) -> Tensor:
    flat = weight.flatten(1)
    return (
        flat / (1e-4 + (flat**2).mean(1, keepdim=True).sqrt()) / math.sqrt(flat.shape[1])
    ).reshape(weight.shape)


def _conv(x: Tensor, weight: Tensor) -> Tensor:
    return nf.conv2d(x, _normal(weight), padding=weight.shape[2] // 2)


def _silu(x: Tensor) -> Tensor:
    return nf.silu(x) / 0.596


def _sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)
