"""The contract that everything composable keeps: a denoiser, its sites, and its other
parametrisations.

A denoiser estimates the clean sample from a noisy one, x = y + σn with n ~ N(0, I):

    D(x; σ, c) ≈ E[y | x, c]

Degraded and guided denoisers are denoisers too, so samplers and metrics never hear of either.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Self

import torch
from torch import Tensor, nn

from degradations.condition import NONE, Condition, condition_of
from degradations.draws import Draws
from degradations.errors import InputError
from degradations.levels import Levels

Action = Callable[[Tensor, Draws | None], Tensor]


class Site(nn.Module):
    """A place in a network that degradations can act on, one after the other; by itself the
    identity.

    A network declares a site by calling one: `h = self.site(h, draws)`. What passes through depends
    on the role: 'dropout' hidden features [B, …]; 'block' the output of a residual branch [B, …],
    before it is added; 'attention' a map of self-attention [B, heads, N, N], after the softmax;
    'map' features with positions [B, C, H, W]; 'label' a LabelSite's.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role
        self.actions: tuple[Action, ...] = ()

    def forward(self, h: Tensor, draws: Draws | None = None) -> Tensor:
        for act in self.actions:
            h = act(h, draws)
        return h

    def then(self, act: Action) -> Self:
        """This site with one more action, after those that it has."""
        site = copy.copy(self)
        site.actions = (*self.actions, act)
        return site


class LabelSite(Site):
    """The site of the label [B] (long), before it is embedded, in a network of so many classes; −1
    means no label."""

    def __init__(self, classes: int) -> None:
        super().__init__("label")
        self.classes = classes


class Denoiser(nn.Module, ABC):
    """D(x, sigma, condition, draws) → estimate of the clean sample, of the shape of x.

    x: [B, …] float; sigma: scalar or [B], the standard deviation of the noise in x; condition: what
    it is conditioned on, for which labels [B] or None may stand; draws: where a stochastic denoiser
    takes its numbers from, None for one that needs none. made_for: the noise levels that it was
    made for, None where it takes any or leaves that to what it is made of.
    """

    made_for: Levels | None = None

    def __call__(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition | Tensor | None = None,
        draws: Draws | None = None,
    ) -> Tensor:
        found: Tensor = super().__call__(x, sigma, condition_of(condition), draws)
        return found

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        raise NotImplementedError

    def sites(self) -> set[str]:
        """The roles of the sites of this denoiser."""
        return {module.role for module in self.modules() if isinstance(module, Site)}

    def levels(self) -> Levels:
        """The noise levels that a sampler may ask for: those of the outermost denoiser within this
        one that was made for some, of a guided one those of its main."""
        found = (module.made_for for module in self.modules() if isinstance(module, Denoiser))
        return next((levels for levels in found if levels is not None), Levels())

    def with_sites(self, role: str, make: Callable[[Site], Site], wanted_by: str) -> Self:
        """A clone with every site of a role replaced by what `make` makes of it: usually
        `site.then(action)`.

        Parameters and buffers are shared; this denoiser stays as it is. Raises InputError where
        there is no such site.
        """
        if role not in self.sites():
            has = ", ".join(sorted(self.sites())) or "no sites at all"
            raise InputError(
                f"{wanted_by} acts on sites of the role '{role}', and {type(self).__name__} has "
                f"{has}."
            )
        clone = self._clone({})
        for module in list(clone.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, Site) and child.role == role:
                    setattr(module, name, make(child))
        return clone

    def with_weights(self, change: Callable[[str, Tensor], Tensor], wanted_by: str) -> Self:
        """A clone with every weight matrix W, a floating parameter with two or more axes, replaced
        by change(name, W).

        The name is W's within the innermost denoiser that it belongs to, whatever is wrapped around
        that one. All other tensors are shared; this denoiser stays as it is. Raises InputError
        where there is no matrix.
        """
        # from the outermost inwards
        denoisers = (module for module in self.modules() if isinstance(module, Denoiser))
        names = {
            weight: name for denoiser in denoisers for name, weight in denoiser.named_parameters()
        }
        changed = {
            weight: nn.Parameter(change(name, weight.detach()), weight.requires_grad)
            for weight, name in names.items()
            if weight.ndim >= 2 and weight.is_floating_point()
        }
        if not changed:
            raise InputError(
                f"{wanted_by} acts on weight matrices, and {type(self).__name__} has none."
            )
        return self._clone(changed)

    def _clone(self, changed: Mapping[nn.Parameter, nn.Parameter]) -> Self:
        """A copy of the module tree that shares all tensors but the changed parameters."""
        shared: dict[int, Tensor] = {
            id(tensor): tensor for tensor in chain(self.parameters(), self.buffers())
        }
        return copy.deepcopy(self, shared | {id(old): new for old, new in changed.items()})


def column(sigma: Tensor | float, x: Tensor) -> Tensor:
    """sigma (scalar or [B]) shaped to multiply x ([B, …]): [B or 1, 1, …], in x's dtype and
    device."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


def epsilon(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The noise estimate ε = (x − D)/σ."""
    return (x - denoised) / column(sigma, x)


def score(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The score ∇ₓ log p(x; σ) = (D − x)/σ² (Karras et al. 2022, eq. 3)."""
    return (denoised - x) / column(sigma, x) ** 2


def velocity(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """v = α·ε − (ασ)·D with α = 1/√(1 + σ²), the variance-preserving scale (Salimans & Ho 2022, §
    4)."""
    s = column(sigma, x)
    return (epsilon(denoised, x, sigma) - s * denoised) / (1 + s**2).sqrt()
