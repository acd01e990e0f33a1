"""The noise levels that a sampler visits."""

import torch
from torch import Tensor

from degradations import Refused


def edm_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """σ_i = (σmax^{1/ρ} + i/(N − 1)·(σmin^{1/ρ} − σmax^{1/ρ}))^ρ for i < N, and σ_N = 0: [N + 1], float64.

    Raises Refused unless N ≥ 2, 0 < σmin < σmax and ρ > 0. (Karras et al. 2022, eq. 5)
    """
    if steps < 2:
        raise Refused(f"sampler: steps must be at least 2, found {steps}.")
    if not 0 < sigma_min < sigma_max < float("inf"):
        raise Refused(f"sampler: 0 < sigma_min < sigma_max is wanted, found {sigma_min} and {sigma_max}.")
    if not 0 < rho < float("inf"):
        raise Refused(f"sampler: rho must be above 0, found {rho}.")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (ends[0] + ramp * (ends[1] - ends[0])) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])
