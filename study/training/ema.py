"""Power-function averages of the weights of a training run (Karras et al. 2024, EDM2, § 3.1 and appendix C)."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from degradations import Refused


def exponent(sigma_rel: float) -> float:
    """γ of the profile tᵞ whose standard deviation is σ_rel of the training time: σ_rel² = (γ + 1)/((γ + 2)²(γ + 3)).

    Raises Refused unless 0 < σ_rel < 12^(−1/2), the width of γ = 0. (EDM2, eq. 126 and algorithm 2)
    """
    if not 0 < sigma_rel < 12**-0.5:
        raise Refused(f"EMA: the relative width must lie between 0 and {12**-0.5:.3f}, found {sigma_rel}.")
    t = sigma_rel**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


@torch.no_grad()
def update(averages: Iterable[Tensor], weights: Iterable[Tensor], step: int, gamma: float) -> None:
    """θ̂ ← β·θ̂ + (1 − β)·θ with β = (1 − 1/t)^(γ + 1) at step t ≥ 1, in place (EDM2, eq. 123)."""
    beta = (1 - 1 / step) ** (gamma + 1)
    for average, weight in zip(averages, weights, strict=True):
        average.lerp_(weight, 1 - beta)
