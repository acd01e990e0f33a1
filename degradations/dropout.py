"""Dropout switched on after training."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws, required


@dataclass(frozen=True)
class Dropout(Kind):
    """`dropout(p)`: h ↦ m·h/(1 − p), m ~ Bernoulli(1 − p) an element, at every site of the role
    'dropout'.

    Masks are drawn anew at every evaluation as m = [u ≥ p], u ~ U[0, 1): under common draws those
    of a larger p lie within those of a smaller one. Nothing else goes into training mode. (Karras
    et al. 2024, synthetic degradations)
    """

    kind: ClassVar[str] = "dropout"
    below: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("dropout", lambda site: site.then(self._mask), wanted_by=str(self))

    def _mask(self, h: Tensor, draws: Draws | None) -> Tensor:
        p = self.strength
        # One multiplication by 0 or 1/(1 − p) instead of a masking and a scaling: the sites are a
        # hot path.
        return h * required(draws, self.kind).uniform("dropout", h).ge_(p).mul_(1 / (1 - p)).to(
            h.dtype
        )
