"""Feature maps in which the positions that are least alike are swapped."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class MapSwap(Kind):
    """`map-swap(f)`: of a fraction f of the positions, the features are swapped in unlike pairs.

    Acts at the sites of the role 'map', in every sample: of all positions not yet swapped, the two
    with the least cosine similarity of features exchange them, until f of the positions are; what a
    smaller f swaps, a larger one swaps too. The memory grows with the square of the positions. The
    spatial guide of self-swap guidance, which leaves open how pairs are made disjoint: here it is
    greedy. (Zhang et al. 2026)
    """

    kind: ClassVar[str] = "map-swap"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("map", lambda site: site.then(self._swap), wanted_by=str(self))

    def _swap(self, h: Tensor, draws: Draws | None) -> Tensor:
        tokens = h.flatten(2)  # [B, C, N]
        b, _, n = tokens.shape
        unit = normalize(tokens.float(), dim=1)
        alike, rows = unit.mT @ unit, torch.arange(b, device=h.device)
        alike.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        source = torch.arange(n, device=h.device).repeat(b, 1)
        for _ in range(int(self.strength * n / 2 + 1e-9)):
            least = alike.flatten(1).argmin(dim=1)
            first, second = least // n, least % n
            source[rows, first], source[rows, second] = second, first
            for each in (first, second):
                alike[rows, each], alike[rows, :, each] = torch.inf, torch.inf
        return tokens.gather(2, source[:, None].expand_as(tokens)).reshape(h.shape)
