"""The contract that everything composable keeps: a denoiser, its sites, and its other parametrisations.

A denoiser estimates the clean sample from a noisy one, x = y + σn with n ~ N(0, I):

    D(x; σ, c) ≈ E[y | x, c]

Degraded and guided denoisers are denoisers too, so samplers and metrics never hear of either.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain
from typing import Self

import torch
from torch import Tensor, nn

from degradations.draws import Draws
from degradations.errors import Refused


class Site(nn.Module):
    """A place in a network that a degradation can act on; by itself the identity.

    A network declares a site by calling one: `h = self.site(h, draws)`.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    def forward(self, h: Tensor, draws: Draws | None = None) -> Tensor:
        return h


class Denoiser(nn.Module, ABC):
    """D(x, sigma, label, draws) → estimate of the clean sample, of the shape of x.

    x: [B, …] float; sigma: scalar or [B], the standard deviation of the noise in x; label: [B] class index or None;
    draws: where a random denoiser takes its numbers from, None for one that needs none.
    """

    @abstractmethod
    def forward(
        self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None, draws: Draws | None = None
    ) -> Tensor:
        raise NotImplementedError

    def sites(self) -> set[str]:
        """The roles of the sites of this denoiser."""
        return {module.role for module in self.modules() if isinstance(module, Site)}

    def with_sites(self, role: str, make: Callable[[], Site], wanted_by: str) -> Self:
        """A clone with every site of a role replaced; parameter and buffer tensors are shared, this one stays as it is.

        Raises Refused where there is no such site.
        """
        if role not in self.sites():
            has = ", ".join(sorted(self.sites())) or "no sites at all"
            raise Refused(f"{wanted_by} acts on sites of the role '{role}', and {type(self).__name__} has {has}.")
        tensors = chain(self.parameters(), self.buffers())
        clone = copy.deepcopy(self, {id(tensor): tensor for tensor in tensors})
        for module in list(clone.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, Site) and child.role == role:
                    setattr(module, name, make())
        return clone


def column(sigma: Tensor | float, x: Tensor) -> Tensor:
    """sigma (scalar or [B]) shaped to multiply x ([B, …]): [B or 1, 1, …], in x's dtype and device."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


def epsilon(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The noise estimate ε = (x − D)/σ."""
    return (x - denoised) / column(sigma, x)


def score(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The score ∇ₓ log p(x; σ) = (D − x)/σ² (Karras et al. 2022, eq. 3)."""
    return (denoised - x) / column(sigma, x) ** 2


def velocity(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """v = α·ε − (ασ)·D with α = 1/√(1 + σ²), the variance-preserving scale (Salimans & Ho 2022, § 4)."""
    s = column(sigma, x)
    return (epsilon(denoised, x, sigma) - s * denoised) / (1 + s**2).sqrt()
