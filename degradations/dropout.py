"""Dropout switched on after training."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws, required


@dataclass(frozen=True)
class Dropout(Kind):
    """`dropout(p)`: elements of hidden features are dropped with probability p.

    h ↦ m·h/(1 − p), m ~ Bernoulli(1 − p) per element, at every site of the role 'dropout'. m = [u ≥
    p], u ~ U[0, 1), is drawn anew at every evaluation; with common draws, what a smaller p drops, a
    larger p drops too. No other layer goes into training mode. (Karras et al. 2024, synthetic
    degradations)
    """

    kind: ClassVar[str] = "dropout"
    below: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("dropout", lambda site: site.then(self._mask), wanted_by=str(self))

    def _mask(self, h: Tensor, draws: Draws | None) -> Tensor:
        p = self.strength
        # One multiplication by 0 or 1/(1 − p) instead of a mask and a scale: this is a hot path.
        return h * required(draws, self.kind).uniform("dropout", h).ge_(p).mul_(1 / (1 - p)).to(
            h.dtype
        )
