"""Gaussian blur of images and feature maps."""

import math

import torch
from torch import Tensor


def blur(x: Tensor, std: float) -> Tensor:
    """G_s x: x, [B, C, H, W], smoothed by a Gaussian of standard deviation `std` > 0, in pixels.

    Each axis of n pixels is multiplied by Cᵀ exp(−s²ω²/2) C, C the orthonormal cosine transform
    (DCT-II) with frequencies ω = πk/n: the heat equation on pixels reflected at the edges. It keeps
    the mean of every channel, tends to it for large s and to x for small s, and successive blurs
    add up, G_s G_t = G_√(s² + t²). (Rissanen et al. 2023, § 2)
    """
    rows, columns = (_smoothing(n, std, x) for n in x.shape[-2:])
    return rows @ x @ columns


def _smoothing(n: int, std: float, like: Tensor) -> Tensor:
    """The symmetric matrix of one axis, [n, n], computed in float64."""
    k = torch.arange(n, dtype=torch.float64, device=like.device)
    omega = math.pi / n * k
    cosines = (omega[:, None] * (k + 0.5)).cos() * torch.where(k == 0, 1 / n, 2 / n).sqrt()[:, None]
    return (cosines.T * (-0.5 * (std * omega) ** 2).exp() @ cosines).to(like.dtype)
