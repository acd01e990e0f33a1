"""The blocks, resampling and embeddings of the U-Nets, against written-out formulas."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from study.models.unet import Fourier, Positional
from study.models.unet_blocks import Block, Conv, Resample, Style, Way
from tests.unet_networks import noise, random


@pytest.mark.parametrize("way", ["keep", "down", "up"])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("after", [8, 16])
def test_a_block_is_its_formula(way: Way, adaptive: bool, after: int) -> None:
    """Written out with pooling, repetition, and attention head by head; the filter (1, 1) averages
    four pixels."""
    style = Style(6, 1e-3, adaptive, gain=0.8, project=True, head_width=4)
    block, x, told = (
        random(Block(8, after, style, attends=True, way=way)),
        noise(2, 8, 4, 4),
        noise(2, 6, seed=2),
    )
    p = dict(block.named_parameters())

    def normalised(h: Tensor, name: str) -> Tensor:
        grouped = h.reshape(len(h), h.shape[1] // 4, -1)
        grouped = (grouped - grouped.mean(2, True)) / (
            grouped.var(2, correction=0, keepdim=True) + 1e-3
        ).sqrt()
        return (
            grouped.reshape(h.shape) * p[f"{name}.weight"][:, None, None]
            + p[f"{name}.bias"][:, None, None]
        )

    def convolved(h: Tensor, name: str) -> Tensor:
        return functional.conv2d(h, p[f"{name}.weight"], p[f"{name}.bias"], padding="same")

    def resampled(h: Tensor) -> Tensor:
        if way == "up":
            return h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return functional.avg_pool2d(h, 2) if way == "down" else h

    h = normalised(x, "norm0")
    h = convolved(resampled(h * h.sigmoid()), "conv0")
    vector = (told @ p["affine.weight"].T + p["affine.bias"])[:, :, None, None]
    if adaptive:
        h = normalised(h, "norm1") * (1 + vector[:, :after]) + vector[:, after:]
    else:
        h = normalised(h + vector, "norm1")
    plain = after == 8 and way == "keep"
    h = 0.8 * (
        convolved(h * h.sigmoid(), "conv1") + (x if plain else convolved(resampled(x), "skip"))
    )
    triples = convolved(normalised(h, "norm2"), "qkv").flatten(2)
    found = torch.zeros_like(h).flatten(2)
    for head in range(after // 4):
        rows = [12 * head + 3 * feature for feature in range(4)]
        q, k, v = (triples[:, [row + which for row in rows]] for which in range(3))
        found[:, 4 * head : 4 * head + 4] = v @ (q.mT @ k / 2).softmax(dim=2).mT
    h = 0.8 * (h + convolved(found.reshape(h.shape), "proj"))
    torch.testing.assert_close(block(x, told, None), h, rtol=1e-4, atol=1e-5)


def test_shortcuts_without_a_convolution() -> None:
    style = Style(6, 1e-5, adaptive=True, gain=1.0, project=False, head_width=64)
    assert isinstance(Block(8, 8, style, way="down").skip, Resample)
    assert isinstance(Block(8, 16, style).skip, Conv)
    assert Block(8, 8, style).skip is None
    assert Block(8, 8, style, attends=True).heads == 0, "narrower than a head"


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1), (1, 2, 3, 5, 8, 13)])
def test_resampling_is_its_sum(taps: tuple[float, ...]) -> None:
    """Down: y_i = Σ_k f_k x_{2i+k−m}, m = n/2 − 1, zeros outside; up: four times the transpose of
    that matrix."""
    n, m = len(taps), len(taps) // 2 - 1
    matrix = torch.zeros(4, 8)
    for i in range(4):
        for k in range(n):
            if 0 <= 2 * i + k - m < 8:
                matrix[i, 2 * i + k - m] = taps[k] / sum(taps)
    x = noise(2, 3, 8, 8)
    torch.testing.assert_close(Resample("down", taps)(x), matrix @ x @ matrix.T)
    torch.testing.assert_close(
        Resample("up", taps)(x[..., :4, :4]), 4 * matrix.T @ x[..., :4, :4] @ matrix
    )
    conv = random(Conv(3, 5, 3, "down", taps))
    plain = functional.conv2d(matrix @ x @ matrix.T, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), plain)


def test_a_convolution_ahead_of_its_filter() -> None:
    """Of the borders, too, where it differs from the other order, the convolution is filtered."""
    conv, x, taps = (
        random(Conv(3, 5, 3, "down", (1, 3, 3, 1), ahead=True)),
        noise(2, 3, 8, 8),
        torch.tensor([1, 3, 3, 1]),
    )
    wide = functional.conv2d(functional.pad(x, (2, 2, 2, 2)), conv.weight, conv.bias)
    assert wide.shape[-1] == 10
    windows = wide.unfold(2, 4, 2).unfold(3, 4, 2)  # [2, 5, 4, 4, 4, 4]
    torch.testing.assert_close(
        conv(x), torch.einsum("bcijkl,k,l->bcij", windows, taps / 8, taps / 8)
    )


def test_what_tells_the_noise_level() -> None:
    c = torch.tensor([0.25, 37.0])
    n = torch.arange(4)
    torch.testing.assert_close(Positional(8, endpoint=False)(c), c[:, None] / 10 ** n[None])
    torch.testing.assert_close(
        Positional(8, endpoint=True)(c), c[:, None] / 10 ** (n[None] * 4 / 3)
    )
    fourier = Fourier(2000)
    assert abs(float(fourier.freqs.std()) - 16) < 2
    torch.testing.assert_close(fourier(c) / (2 * math.pi), c[:, None] * fourier.freqs)
