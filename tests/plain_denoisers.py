"""Denoisers simple enough to see what a degradation does to them, and what comes out of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from degradations import Degradation, Denoiser, Draws, LabelSite, Site
from study.models import EDM, ExactMixture

Base = Callable[[], EDM]


def evaluate(denoiser: Denoiser, draws: Draws | None, n: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 4, 4, generator=generator)
    return denoiser(x, 0.7, torch.arange(n) % 3, draws)


class Echo(Denoiser):
    """D(x; σ, c) = x"""

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return x


class Told(Denoiser):
    """D(x; σ, c) = σ"""

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return torch.zeros_like(x) + torch.as_tensor(sigma).reshape(-1, *[1] * (x.ndim - 1))


class Through(Denoiser):
    """What comes out of one site: x, or the label, passed through it."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return self.site(x if condition.label is None else condition.label, draws)


class Linear(Denoiser):
    """D(x; σ, c) = W x"""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return x @ self.weight.T


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weight_after(degradation: Degradation, weight: Tensor) -> Tensor:
    degraded = degradation(Linear(weight))
    assert isinstance(degraded, Linear)
    return degraded.weight


def through(degradation: Degradation, role: str, h: Tensor, seed: int = 0) -> Tensor:
    return degradation(Through(Site(role)))(h, 1.0, None, Draws(seed))


def labels_after(degradation: Degradation, classes: int, label: Tensor, seed: int = 0) -> Tensor:
    return degradation(Through(LabelSite(classes)))(
        torch.zeros(len(label)), 1.0, label, Draws(seed)
    )


def mixture() -> ExactMixture:
    """Three Gaussians in two dimensions, in float64."""
    means = torch.tensor([[-0.6, 0.2], [0.5, 0.5], [0.1, -0.7]], dtype=torch.float64)
    roots = (
        torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.2
    )
    return ExactMixture(
        means, roots @ roots.mT + 0.05 * torch.eye(2), torch.tensor([1.0, 2.0, 1.0]).double()
    )
