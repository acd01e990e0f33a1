"""Self-attention restricted to the position itself."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class NoAttention(Kind):
    """`no-attention(s)`: A ↦ (1 − s)·A + s·I for every map of self-attention A.

    Acts at the sites of the role 'attention'. At s = 1 every position attends to itself alone: the
    guide of perturbed-attention guidance. (Ahn et al. 2024)
    """

    kind: ClassVar[str] = "no-attention"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites(
            "attention", lambda site: site.then(self._straighten), wanted_by=str(self)
        )

    def _straighten(self, attention: Tensor, draws: Draws | None) -> Tensor:
        itself = torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
        return attention.lerp(itself, self.strength)
