"""The smallest weights set to zero."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.degradation import Kind
from degradations.denoiser import Denoiser


@dataclass(frozen=True)
class Prune(Kind):
    """`prune(f)`: in every weight matrix the fraction f of smallest |w| is set to 0.

    The number of these weights is rounded. (Magnitude pruning, Han et al. 2015, without retraining)
    """

    kind: ClassVar[str] = "prune"
    below: ClassVar[float] = 1.0

    def degrade(self, base: Denoiser) -> Denoiser:
        return base.with_weights(self._zero, wanted_by=str(self))

    def _zero(self, name: str, weight: Tensor) -> Tensor:
        smallest = (
            weight.abs().flatten().argsort(stable=True)[: round(self.strength * weight.numel())]
        )
        return weight.flatten().index_fill(0, smallest, 0).reshape(weight.shape)
