"""The objectives of EDM and EDM2."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from study.training.objective import Objective


@dataclass(frozen=True)
class EDMObjective(Objective):
    """`edm`: λ(σ) = (σ² + σd²)/(σσd)², the same loss at every noise level for an untrained network.

    (Karras et al. 2022, table 1)
    """

    kind: ClassVar[str] = "edm"

    def weight(self, sigma: Tensor, sigma_data: float) -> Tensor:
        return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


@dataclass(frozen=True)
class EDM2Objective(EDMObjective):
    """`edm2`: that of EDM with a learned uncertainty u(σ), λ(σ)/exp(u)·|D − y|² + u.

    It keeps the loss the same at every noise level throughout the training. (Karras et al. 2024,
    EDM2, eq. 14)
    """

    kind: ClassVar[str] = "edm2"
    learns: ClassVar[bool] = True
