"""Samples denoised without their labels."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws, required


@dataclass(frozen=True)
class LabelDrop(Kind):
    """`label-drop(p)`: with probability p a sample is denoised without its label.

    Acts at the sites of the role 'label'. Drawn anew at every evaluation as u < p, u ~ U[0, 1):
    with common draws, what a smaller p drops, a larger one drops too. (p = 1 is the guide of
    classifier-free guidance, Ho & Salimans 2022)
    """

    kind: ClassVar[str] = "label-drop"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_sites("label", lambda site: site.then(self._drop), wanted_by=str(self))

    def _drop(self, label: Tensor, draws: Draws | None) -> Tensor:
        return label.masked_fill(
            required(draws, self.kind).uniform("label-drop", label) < self.strength, -1
        )
