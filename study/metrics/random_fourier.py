"""Random Fourier features of points."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from degradations import InputError
from study.metrics.extractor import Extractor


class RandomFourier(Extractor):
    """√(2/d)·cos(ωᵀx + φ), ω ~ N(0, I/h²), φ ~ U[0, 2π), drawn once, d = 256.

    The bandwidths h have equal numbers of features. For points in two dimensions. (Rahimi & Recht
    2007)
    """

    name, sha256 = "rff", "rff: 256 features, bandwidths 1 0.3 0.1 0.03, seed 0"
    dimensions: ClassVar[int | None] = 256
    frequencies: Tensor
    phases: Tensor
    bandwidths = (1.0, 0.3, 0.1, 0.03)

    def __init__(self, features: int = 256) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        frequencies = torch.randn(2, features, generator=generator)
        scale = torch.tensor(self.bandwidths).repeat_interleave(features // len(self.bandwidths))
        self.register_buffer("frequencies", frequencies / scale)
        self.register_buffer("phases", 2 * math.pi * torch.rand(features, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (2,):
            raise InputError(
                f"extractor 'rff': found samples of shape {list(x.shape[1:])}; accepted: [n, 2]."
            )
        return math.sqrt(2 / len(self.phases)) * (x @ self.frequencies + self.phases).cos()
