"""Labels replaced by random ones."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser, LabelSite, Site
from degradations.draws import Draws, required


@dataclass(frozen=True)
class LabelSwap(Kind):
    """`label-swap(p)`: with probability p a sample's label is replaced by a random class.

    The class is drawn uniformly from all of them, at the sites of the role 'label'; a sample
    without a label keeps none. Drawn anew at every evaluation as u < p, u ~ U[0, 1): with common
    draws, what a smaller p swaps, a larger one swaps too, and to the same class.
    """

    kind: ClassVar[str] = "label-swap"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        def swapping(site: Site) -> Site:
            assert isinstance(site, LabelSite)  # no other site has the role 'label'
            return site.then(partial(self._swap, site.classes))

        return base.with_sites("label", swapping, wanted_by=str(self))

    def _swap(self, classes: int, label: Tensor, draws: Draws | None) -> Tensor:
        draws = required(draws, self.kind)
        swapped = (draws.uniform("label-swap", label) < self.strength) & (label >= 0)
        generator = draws.generator("label-swap/class", label.device)
        drawn = torch.randint(
            classes, label.shape, generator=generator, device=label.device, dtype=label.dtype
        )
        return torch.where(swapped, drawn, label)
