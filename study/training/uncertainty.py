"""The uncertainty that the objective of EDM2 learns beside the denoiser."""

import math

import torch
from torch import Tensor, nn


class Uncertainty(nn.Module):
    """u(σ): a linear layer on Fourier features of ln(σ)/4, [B] → [B]; zero before training.

    (Karras et al. 2024, EDM2, § 2.2 and appendix B.5)
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: int = 128) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(features))
        self.register_buffer("phases", torch.rand(features))
        self.leave = nn.Linear(features, 1, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(self, sigma: Tensor) -> Tensor:
        angles = 2 * math.pi * (sigma.log()[:, None] / 4 * self.frequencies + self.phases)
        return self.leave(math.sqrt(2) * angles.cos())[:, 0]
