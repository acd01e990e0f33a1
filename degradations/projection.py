"""Parts of one estimate along another, of each sample."""

import torch
from torch import Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ of each sample in float64, [B, 1, …]."""
    return (a.double() * b.double()).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))


def norm(a: Tensor) -> Tensor:
    """‖a‖₂ of each sample in float64, [B, 1, …]."""
    return dot(a, a).sqrt()


def along(a: Tensor, b: Tensor) -> Tensor:
    """The part of a along b, ⟨a, b⟩/‖b‖²·b, of each sample; 0 where b is."""
    square = dot(b, b)
    factor = torch.where(square > 0, dot(a, b) / square, 0.0)
    return (factor * b).to(a.dtype)
