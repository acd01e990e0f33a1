"""A residual MLP on flattened samples: small images and points."""

import math

import torch
from torch import Tensor, nn

from degradations import Draws, Site
from study.models.preconditioning import Network


class ResidualMLP(Network):
    """`blocks` residual blocks of `width` features, each LayerNorm → `hidden` → scale and shift by (σ, label) → SiLU →
    dropout site → `width`.

    x: [B, …] with prod(…) = dim; label: [B] in 0…classes − 1, or None for none. Its sites have the role 'dropout'.
    """

    def __init__(
        self, dim: int, classes: int, width: int = 64, hidden: int = 192, blocks: int = 8, embedding: int = 32
    ) -> None:
        super().__init__()
        self.noise = _Fourier(embedding)
        self.label = nn.Embedding(classes, embedding) if classes else None
        self.embed = nn.Linear(embedding, embedding)
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width, hidden, embedding) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, dim)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, draws: Draws | None) -> Tensor:
        embedding = self.noise(c_noise)
        if self.label is not None and label is not None:
            embedding = embedding + self.label(label)
        embedding = nn.functional.silu(self.embed(embedding))
        h = self.enter(x.flatten(1))
        for block in self.blocks:
            h = block(h, embedding, draws)
        return self.leave(self.norm(h)).reshape(x.shape)


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, hidden)
        self.modulate = nn.Linear(embedding, 2 * hidden)
        self.dropout = Site("dropout")
        self.leave = nn.Linear(hidden, width)
        nn.init.zeros_(self.leave.weight)

    def forward(self, h: Tensor, embedding: Tensor, draws: Draws | None) -> Tensor:
        scale, shift = self.modulate(embedding).chunk(2, dim=-1)
        u = torch.addcmul(shift, self.enter(self.norm(h)), 1 + scale)
        return h + self.leave(self.dropout(nn.functional.silu(u), draws))


class _Fourier(nn.Module):
    """√2·cos(2π(f·c + φ)), f ~ N(0, 1), φ ~ U[0, 1), drawn once (Karras et al. 2024, EDM2, eq. 75)."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(features))
        self.register_buffer("phases", torch.rand(features))

    def forward(self, c: Tensor) -> Tensor:
        return math.sqrt(2) * (2 * math.pi * (c[:, None] * self.frequencies + self.phases)).cos()
