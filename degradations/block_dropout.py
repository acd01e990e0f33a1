"""Residual branches dropped at random."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser, column
from degradations.draws import Draws, required


@dataclass(frozen=True)
class BlockDropout(Kind):
    """`block-dropout(p)`: every residual branch is dropped with probability p, per sample.

    h ↦ m·h/(1 − p), m ~ Bernoulli(1 − p), at every site of the role 'block'. m = [u ≥ p] is drawn
    anew at every evaluation, and the masks are nested as those of `dropout`. (Stochastic depth,
    Huang et al. 2016, switched on after training)
    """

    kind: ClassVar[str] = "block-dropout"
    below: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("block", lambda site: site.then(self._mask), wanted_by=str(self))

    def _mask(self, h: Tensor, draws: Draws | None) -> Tensor:
        kept = (
            required(draws, self.kind).uniform("block-dropout", h.flatten(1)[:, 0]) >= self.strength
        )
        return h * column(kept / (1 - self.strength), h)
