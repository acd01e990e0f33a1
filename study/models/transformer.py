"""A small transformer on the patches of an image."""

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, InputError, Site
from study.models.mlp import ConditionedNetwork, ResidualBlock
from study.specs import NetworkSpec


class PatchTransformer(ConditionedNetwork):
    """Patches as tokens with learned positions, then `blocks` of self-attention and an MLP.

    A block: map site; h + attention(LayerNorm(h)), whose map passes an attention site; then the
    residual block of `ResidualMLP`, token by token, conditioned on (σ, label). x: [B, C, H, W],
    shape = (C, H, W). Its sites have the roles 'map' ([B, width, H/patch, W/patch]), 'attention',
    'dropout', 'block' and, if there are classes, 'label'. Raises InputError if patches do not fill
    the shape or heads do not divide the width. (After DiT, Peebles & Xie 2023)
    """

    kind: ClassVar[str | None] = "transformer"

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        width: int = 64,
        hidden: int = 192,
        blocks: int = 4,
        embedding: int = 32,
        heads: int = 4,
        patch: int = 2,
    ) -> None:
        if len(shape) != 3 or shape[1] % patch or shape[2] % patch:
            raise InputError(
                f"PatchTransformer: found shape {list(shape)}; accepted: [C, H, W], H and W "
                f"multiples of {patch}."
            )
        if width % heads:
            raise InputError(
                f"PatchTransformer: found width {width}; accepted: multiples of {heads}, the heads."
            )
        super().__init__(classes, embedding)
        self.patch, features = patch, shape[0] * patch**2
        tokens = (shape[1] // patch) * (shape[2] // patch)
        self.enter = nn.Linear(features, width)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList(_Block(width, hidden, embedding, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, features)
        nn.init.zeros_(self.leave.weight)

    @classmethod
    def of(cls, spec: NetworkSpec, shape: Sequence[int], classes: int) -> Self:
        sizes = spec.width, spec.hidden, spec.blocks, spec.embedding, spec.heads, spec.patch
        return cls(shape, classes, *sizes)

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        embedding = self.embedding(x, c_noise, condition, draws)[:, None]
        patches = nn.functional.pixel_unshuffle(x, self.patch)
        grid = patches.shape[2:]
        h = self.enter(_tokens(patches)) + self.positions
        for block in self.blocks:
            h = block(h, embedding, grid, draws)
        return nn.functional.pixel_shuffle(_map(self.leave(self.norm(h)), grid), self.patch)


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int, embedding: int, heads: int) -> None:
        super().__init__()
        self.map = Site("map")
        self.attention = _Attention(width, heads)
        self.mlp = ResidualBlock(width, hidden, embedding)

    def forward(
        self, h: Tensor, embedding: Tensor, grid: torch.Size, draws: Draws | None
    ) -> Tensor:
        h = _tokens(self.map(_map(h, grid), draws))
        return self.mlp(self.attention(h, draws), embedding, draws)


class _Attention(nn.Module):
    """h + (softmax(q kᵀ/√d) v), projected, through the attention and block sites."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.attention = Site("attention")
        self.leave = nn.Linear(width, width)
        nn.init.zeros_(self.leave.weight)
        self.block = Site("block")

    def forward(self, h: Tensor, draws: Draws | None) -> Tensor:
        q, k, v = (
            self.project(self.norm(h)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        # [B, heads, N, N]
        attention = self.attention((q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1), draws)
        return h + self.block(self.leave((attention @ v).transpose(1, 2).flatten(2)), draws)


def _tokens(features: Tensor) -> Tensor:
    """[B, C, H, W] → [B, H·W, C]"""
    return features.flatten(2).transpose(1, 2)


def _map(tokens: Tensor, grid: torch.Size) -> Tensor:
    """[B, H·W, C] → [B, C, H, W]"""
    return torch.unflatten(tokens.transpose(1, 2), 2, grid)
