"""Blurred feature maps."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.blur import blur
from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


@dataclass(frozen=True)
class MapBlur(Kind):
    """`map-blur(s)`: h ↦ G_s h, Gaussian blur with a standard deviation of s positions.

    Acts at the sites of the role 'map'.
    """

    kind: ClassVar[str] = "map-blur"

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("map", lambda site: site.then(self._blur), wanted_by=str(self))

    def _blur(self, h: Tensor, draws: Draws | None) -> Tensor:
        return blur(h, self.strength)
