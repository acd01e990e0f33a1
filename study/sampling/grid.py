"""The noise levels that a sampler visits."""

import torch
from torch import Tensor

from degradations import InputError, Levels


def edm_sigmas(
    steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0, levels: Levels | None = None
) -> Tensor:
    """σ_i = (σmax^{1/ρ} + i/(N − 1)·(σmin^{1/ρ} − σmax^{1/ρ}))^ρ for i < N, and σ_N = 0.

    Returns [N + 1], float64. levels: those of the denoiser (`Denoiser.levels`), None for all. σmin
    is raised to their lowest, σmax lowered to their highest, and σ_i rounded to the nearest level
    of their table, as EDM samples the VP, VE and iDDPM networks. Raises InputError unless N ≥ 2, 0
    < σmin < σmax, ρ > 0 and some of the levels lie between σmin and σmax. (Karras et al. 2022, eq.
    5 and table 1)
    """
    if steps < 2:
        raise InputError(f"sampler: found steps {steps}; accepted: at least 2.")
    if not 0 < sigma_min < sigma_max < float("inf"):
        raise InputError(
            f"sampler: found sigma_min {sigma_min}, sigma_max {sigma_max}; accepted: "
            "0 < sigma_min < sigma_max."
        )
    if not 0 < rho < float("inf"):
        raise InputError(f"sampler: found rho {rho}; accepted: a number above 0.")
    levels = levels or Levels()
    low, high = max(sigma_min, levels.low), min(sigma_max, levels.high)
    if not low < high:
        raise InputError(
            f"sampler: found sigma_min {sigma_min:g}, sigma_max {sigma_max:g}; accepted: noise "
            f"levels that the denoiser was made for, {levels.low:.4g} to {levels.high:.4g}."
        )
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    ends = high ** (1 / rho), low ** (1 / rho)
    sigmas = (ends[0] + ramp * (ends[1] - ends[0])) ** rho
    return torch.tensor([*map(levels.nearest, sigmas.tolist()), 0.0], dtype=torch.float64)
