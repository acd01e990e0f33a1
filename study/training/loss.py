"""The EDM training objective."""

import torch
from torch import Tensor

from degradations import Condition, Denoiser
from degradations.denoiser import column


def log_normal(n: int, p_mean: float, p_std: float, generator: torch.Generator) -> Tensor:
    """Noise levels of a training batch: ln σ ~ N(P_mean, P_std²), [n].

    (Karras et al. 2022, table 1)
    """
    return (p_mean + p_std * torch.randn(n, generator=generator)).exp()


def edm_loss(
    denoiser: Denoiser,
    y: Tensor,
    noise: Tensor,
    sigma: Tensor,
    condition: Condition | Tensor | None,
    sigma_data: float,
) -> Tensor:
    """λ(σ)·|D(y + σn; σ) − y|², λ = (σ² + σd²)/(σσd)², averaged over samples and elements.

    (Karras et al. 2022, eq. 2) y, noise: [B, …]; sigma: [B]; condition: may be labels [B]; returns
    a scalar.
    """
    s = column(sigma, y)
    weight = (s**2 + sigma_data**2) / (s * sigma_data) ** 2
    return (weight * (denoiser(y + s * noise, sigma, condition) - y) ** 2).mean()
