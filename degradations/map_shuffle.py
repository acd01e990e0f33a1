"""Feature maps with permuted positions."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws, required


@dataclass(frozen=True)
class MapShuffle(Kind):
    """`map-shuffle(f)`: the features of a random fraction f of the positions are permuted.

    Acts at the sites of the role 'map', anew at every evaluation and for every sample: a position
    takes part if u < f, u ~ U[0, 1), so with common draws the positions of a smaller f are among
    those of a larger one; their features move along a random cycle. (f = 1 is close to token
    perturbation guidance, Rajabi et al. 2025)
    """

    kind: ClassVar[str] = "map-shuffle"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("map", lambda site: site.then(self._shuffle), wanted_by=str(self))

    def _shuffle(self, h: Tensor, draws: Draws | None) -> Tensor:
        u = required(draws, self.kind).uniform("map-shuffle", h[:, 0].flatten(1))
        taking_part = (u < self.strength).sum(dim=1, keepdim=True)
        # Sorted by u, the positions are in random order, those that take part first: each takes the
        # features of the one before it.
        order, rank = u.argsort(dim=1), torch.arange(u.shape[1], device=h.device)
        before = torch.where(rank < taking_part, (rank - 1) % taking_part.clamp(min=1), rank)
        source = torch.empty_like(order).scatter_(1, order, order.gather(1, before))
        return h.flatten(2).gather(2, source[:, None].expand(-1, h.shape[1], -1)).reshape(h.shape)
