"""Activations rounded to a few bits."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser, column
from degradations.draws import Draws
from degradations.rounding import rounded


@dataclass(frozen=True)
class FeatureQuantize(Kind):
    """`feature-quantize(k)`: h rounded to k bits at every site of the role 'dropout'.

    Each sample's features at a site are rounded to multiples of Δ = 2·max|h|/(2^k − 1), as
    quantised inference does with activations; k is any real number. See `degradations.rounding`; k
    = inf is the identity. (Jacob et al. 2018)
    """

    kind: ClassVar[str] = "feature-quantize"
    identity: ClassVar[float] = inf
    least: ClassVar[float] = 1.0
    most: ClassVar[float] = 32.0
    rises: ClassVar[bool] = False

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("dropout", lambda site: site.then(self._round), wanted_by=str(self))

    def _round(self, h: Tensor, draws: Draws | None) -> Tensor:
        return rounded(h, column(h.abs().flatten(1).amax(dim=1), h), self.strength)
