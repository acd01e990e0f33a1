"""One residual branch left out."""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser, Site
from degradations.draws import Draws
from degradations.errors import InputError


@dataclass(frozen=True)
class SkipBlock(Kind):
    """`skip-block(s, block=k)`: h ↦ (1 − s)·h at the k-th site of the role 'block'; s = 1 skips it.

    k counts from 0 in the order of the network, negative k from its end; compositions skip several.
    The guide of skip-layer guidance; with fresh random blocks, as in S²-guidance, it is
    `block-dropout`. Raises InputError if there is no such block. (Stability AI 2024, SD3.5; Hyung
    et al. 2025, STG)
    """

    block: int = 0

    kind: ClassVar[str] = "skip-block"
    most: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        sites = [m for m in base.modules() if isinstance(m, Site) and m.role == "block"]
        if sites and not -len(sites) <= self.block < len(sites):
            raise InputError(
                f"{self}: found block {self.block}; accepted: {-len(sites)} to {len(sites) - 1}."
            )
        wanted, numbers = self.block % max(len(sites), 1), count()

        def make(site: Site) -> Site:
            return site.then(self._weaken) if next(numbers) == wanted else site

        return base.with_sites("block", make, wanted_by=str(self))

    def _weaken(self, h: Tensor, draws: Draws | None) -> Tensor:
        return (1 - self.strength) * h
