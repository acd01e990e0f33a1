"""A residual MLP on flattened samples, for small images and points."""

import math
from abc import ABC
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, LabelSite, Site
from study.models.preconditioning import Network
from study.specs import NetworkSpec


class ConditionedNetwork(Network, ABC):
    """A network that receives the noise level and the label as one vector.

    label: [B] in 0…classes − 1, −1 for none; None means −1 for all. A network with classes has a
    site of the role 'label'.
    """

    def __init__(self, classes: int, embedding: int) -> None:
        super().__init__()
        self.noise = _Fourier(embedding)
        self.label = _Labels(classes, embedding) if classes else None
        self.embed = nn.Linear(embedding, embedding)

    def embedding(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        """The vector of noise level and label, [B or 1, embedding]."""
        embedding = self.noise(c_noise)
        if self.label is not None:
            embedding = embedding + self.label(condition.labels(x), draws)
        return nn.functional.silu(self.embed(embedding))


class ResidualMLP(ConditionedNetwork):
    """`blocks` residual blocks of `width` features on flattened samples.

    A block: LayerNorm → `hidden` → scale and shift by (σ, label) → SiLU → dropout site → `width` →
    block site. x: [B, …] with prod(…) = dim. Its sites have the roles 'dropout', 'block' and, if
    there are classes, 'label'.
    """

    kind: ClassVar[str | None] = "mlp"

    def __init__(
        self,
        dim: int,
        classes: int,
        width: int = 64,
        hidden: int = 192,
        blocks: int = 8,
        embedding: int = 32,
    ) -> None:
        super().__init__(classes, embedding)
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(ResidualBlock(width, hidden, embedding) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, dim)
        nn.init.zeros_(self.leave.weight)

    @classmethod
    def of(cls, spec: NetworkSpec, shape: Sequence[int], classes: int) -> Self:
        sizes = spec.width, spec.hidden, spec.blocks, spec.embedding
        return cls(math.prod(shape), classes, *sizes)

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        embedding = self.embedding(x, c_noise, condition, draws)
        h = self.enter(x.flatten(1))
        for block in self.blocks:
            h = block(h, embedding, draws)
        return self.leave(self.norm(h)).reshape(x.shape)


class ResidualBlock(nn.Module):
    """A block of `ResidualMLP` on the last axis.

    h: [B, …, width], embedding: [B or 1, …, embedding].
    """

    def __init__(self, width: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, hidden)
        self.modulate = nn.Linear(embedding, 2 * hidden)
        self.dropout = Site("dropout")
        self.leave = nn.Linear(hidden, width)
        nn.init.zeros_(self.leave.weight)
        self.block = Site("block")

    def forward(self, h: Tensor, embedding: Tensor, draws: Draws | None) -> Tensor:
        scale, shift = self.modulate(embedding).chunk(2, dim=-1)
        u = torch.addcmul(shift, self.enter(self.norm(h)), 1 + scale)
        return h + self.block(self.leave(self.dropout(nn.functional.silu(u), draws)), draws)


class _Fourier(nn.Module):
    """√2·cos(2π(f·c + φ)), f ~ N(0, 1), φ ~ U[0, 1), drawn once.

    (Karras et al. 2024, EDM2, eq. 75)
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(features))
        self.register_buffer("phases", torch.rand(features))

    def forward(self, c: Tensor) -> Tensor:
        return math.sqrt(2) * (2 * math.pi * (c[:, None] * self.frequencies + self.phases)).cos()


class _Labels(nn.Module):
    """One vector per class, [B] → [B, features], and zero for −1."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features))
        self.site = LabelSite(classes)

    def forward(self, label: Tensor, draws: Draws | None) -> Tensor:
        # A row of zeros in front of the table costs less than a mask over the batch.
        return nn.functional.embedding(
            self.site(label, draws) + 1, nn.functional.pad(self.weight, (0, 0, 1, 0))
        )
