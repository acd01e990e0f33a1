"""Frequency-decoupled guidance."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from degradations.errors import InputError
from degradations.guidance.rule import Combination, Point


@dataclass(frozen=True)
class FDG(Combination):
    """`fdg(share, …)`: the weight 1 + (w − 1)·share_k on level k of a Laplacian pyramid.

    The first share is that of the highest frequencies, the last that of what remains. A pyramid is
    linear, so D = D1 + (w − 1)·Σ_k share_k·L_k(D1 − D0). Blurred by [1 4 6 4 1]/16 along each axis,
    and resized bilinearly. Raises InputError for fewer than two shares or ones that are not finite.
    (Sadat et al. 2025, FDG, § 4; the pyramid: Burt & Adelson 1983)
    """

    shares: tuple[float, ...]

    kind: ClassVar[str] = "fdg"
    several: ClassVar[tuple[str, str] | None] = ("shares", "SHARE, SHARE, …")
    needs: ClassVar[frozenset[str]] = frozenset({"images"})

    def __post_init__(self) -> None:
        if len(self.shares) < 2 or not all(math.isfinite(share) for share in self.shares):
            raise InputError(f"{self}: accepted: two or more finite shares.")
        super().__post_init__()

    def require_shape(self, shape: tuple[int, ...]) -> None:
        least = 2 ** len(self.shares)
        if len(shape) != 3 or min(shape[1:]) < least:
            raise InputError(
                f"{self}: found samples of shape {list(shape)}; accepted: images of at least "
                f"{least}×{least} pixels."
            )

    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        self.require_shape(tuple(d1.shape[1:]))
        rest, bands = d1 - d0, []
        for _ in self.shares[1:]:
            lower = interpolate(_blur(rest), scale_factor=0.5, mode="bilinear")
            bands.append(rest - _enlarge(lower, rest))
            rest = lower
        shifted = self.shares[-1] * rest
        for share, band in zip(self.shares[-2::-1], reversed(bands), strict=True):
            shifted = share * band + _enlarge(shifted, band)
        return d1 + (weight - 1) * shifted


def _blur(x: Tensor) -> Tensor:
    """Blurred by [1 4 6 4 1]/16 along each axis, mirrored at the edges."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16
    planes = x.reshape(-1, 1, *x.shape[2:])
    planes = conv2d(pad(planes, (2, 2, 0, 0), "reflect"), kernel.reshape(1, 1, 1, 5))
    planes = conv2d(pad(planes, (0, 0, 2, 2), "reflect"), kernel.reshape(1, 1, 5, 1))
    return planes.reshape(x.shape)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return _blur(interpolate(x, like.shape[2:], mode="bilinear"))
