"""Multiplicative Gaussian noise on activations."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws, required


@dataclass(frozen=True)
class FeatureNoise(Kind):
    """`feature-noise(a)`: h ↦ h·(1 + a·n), n ~ N(0, 1) per element, at every site of 'dropout'.

    n is drawn anew at every evaluation. (Gaussian dropout, Srivastava et al. 2014, § 10, switched
    on after training)
    """

    kind: ClassVar[str] = "feature-noise"

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("dropout", lambda site: site.then(self._scale), wanted_by=str(self))

    def _scale(self, h: Tensor, draws: Draws | None) -> Tensor:
        n = required(draws, self.kind).normal("feature-noise", h)
        return h * (1 + self.strength * n)
