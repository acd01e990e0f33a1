"""Dropout switched on after training."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Degradation
from degradations.denoiser import Denoiser, Site
from degradations.draws import Draws
from degradations.errors import Refused


@dataclass(frozen=True)
class Dropout(Degradation):
    """`dropout(p)`: h ↦ m·h/(1 − p), m ~ Bernoulli(1 − p) an element, at every site of the role 'dropout'.

    Masks are drawn anew at every evaluation as m = [u ≥ p], u ~ U[0, 1): under common draws those of a larger p lie
    within those of a smaller one. Nothing else goes into training mode. (Karras et al. 2024, synthetic degradations)
    """

    kind: ClassVar[str] = "dropout"
    below: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("dropout", lambda: _Masked(self.strength), wanted_by=str(self))


class _Masked(Site):
    def __init__(self, p: float) -> None:
        super().__init__("dropout")
        self.p = p

    def forward(self, h: Tensor, draws: Draws | None = None) -> Tensor:
        if draws is None:
            raise Refused(f"dropout({self.p:g}) draws its masks: call the denoiser with draws=Draws(seed).")
        # One multiplication by 0 or 1/(1 − p) instead of a masking and a scaling: the sites are a hot path.
        return h * draws.uniform("dropout", h).ge_(self.p).mul_(1 / (1 - self.p)).to(h.dtype)
