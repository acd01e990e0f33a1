"""The contract of a denoiser, its sites, and its other parametrisations.

A denoiser estimates the clean sample from a noisy one, x = y + σn with n ~ N(0, I):

    D(x; σ, c) ≈ E[y | x, c]

Degraded and guided denoisers are denoisers too, so samplers and metrics treat all of them alike.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from degradations.condition import NONE, Condition, condition_of
from degradations.draws import Draws
from degradations.errors import InputError
from degradations.levels import Levels

if TYPE_CHECKING:
    from degradations.noisy_classifier import NoisyClassifier

Action = Callable[[Tensor, Draws | None], Tensor]


class Site(nn.Module):
    """A place in a network where degradations can act; without any it is the identity.

    Actions are applied one after the other. A network declares a site by calling one: `h =
    self.site(h, draws)`. The tensor at a site depends on its role: 'dropout' hidden features [B,
    …]; 'block' the output of a residual branch [B, …], before it is added; 'attention' a map of
    self-attention [B, heads, N, N], after the softmax; 'map' features with positions [B, C, H, W];
    'label' see `LabelSite`.
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
        """A copy of this site with one more action, applied after those that it has."""
        site = copy.copy(self)
        site.actions = (*self.actions, act)
        return site


class LabelSite(Site):
    """The site of the label [B] (long), before it is embedded; −1 means no label.

    classes: the number of classes of the network.
    """

    def __init__(self, classes: int) -> None:
        super().__init__("label")
        self.classes = classes


class Denoiser(nn.Module, ABC):
    """D(x, sigma, condition, draws) → estimate of the clean sample, of the shape of x.

    x: [B, …] float; sigma: scalar or [B], the standard deviation of the noise in x; condition: what
    the denoiser is conditioned on, also given as labels [B] or None; draws: the random numbers of a
    stochastic denoiser, None for a deterministic one. made_for: the noise levels that it was made
    for, None if it accepts any or leaves that to the denoisers inside it. classifier: returns a
    classifier of noisy samples of the same data; None if there is none. It is not part of the
    network, so degradations do not reach it. crops: the number of which the sides of an image must
    be multiples where it takes images of other sizes than its own; None if it does not.
    """

    made_for: Levels | None = None
    classifier: "Callable[[], NoisyClassifier] | None" = None
    crops: int | None = None

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
        """The noise levels that a sampler may ask for.

        Those of the outermost denoiser within this one that declares some; for a guided denoiser,
        those of its main.
        """
        found: Levels | None = self.declared("made_for")
        return Levels() if found is None else found

    def declared(self, name: str) -> Any:
        """An attribute of the outermost denoiser within this one that declares it, else None."""
        found = (getattr(module, name) for module in self.modules() if isinstance(module, Denoiser))
        return next((each for each in found if each is not None), None)

    def with_sites(self, role: str, make: Callable[[Site], Site], wanted_by: str) -> Self:
        """A clone in which every site of a role is replaced by make(site).

        `make` usually returns `site.then(action)`. Parameters and buffers are shared; this denoiser
        is not changed. Raises InputError if it has no such site.
        """
        if role not in self.sites():
            raise self._lacks(role, wanted_by)
        clone = self._clone({})
        for module in list(clone.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, Site) and child.role == role:
                    setattr(module, name, make(child))
        return clone

    def with_weights(self, change: Callable[[str, Tensor], Tensor], wanted_by: str) -> Self:
        """A clone in which every weight matrix W is replaced by change(name, W).

        A weight matrix is a floating-point parameter with two or more axes. The name of W is its
        name within the innermost denoiser that contains it, so wrappers do not change it. All other
        tensors are shared; this denoiser is not changed. Raises InputError if there is no weight
        matrix.
        """
        # from the outermost denoiser inwards, so that the innermost name stays
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

    def label_classes(self, wanted_by: str) -> int:
        """The number of classes of the labels. Raises InputError if it has no site of a label."""
        for module in self.modules():
            if isinstance(module, LabelSite):
                return module.classes
        raise self._lacks("label", wanted_by)

    def _lacks(self, role: str, wanted_by: str) -> InputError:
        has = ", ".join(sorted(self.sites())) or "no sites"
        return InputError(
            f"{wanted_by} acts on sites of the role '{role}', and {type(self).__name__} has {has}."
        )

    def _clone(self, changed: Mapping[nn.Parameter, nn.Parameter]) -> Self:
        """A copy of the module tree that shares all tensors except the changed parameters."""
        shared: dict[int, Tensor] = {
            id(tensor): tensor for tensor in chain(self.parameters(), self.buffers())
        }
        return copy.deepcopy(self, shared | {id(old): new for old, new in changed.items()})


def column(sigma: Tensor | float, x: Tensor) -> Tensor:
    """sigma (scalar or [B]) shaped to multiply x ([B, …]): [B or 1, 1, …], x's dtype and device."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


def epsilon(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The noise estimate ε = (x − D)/σ."""
    return (x - denoised) / column(sigma, x)


def score(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """The score ∇ₓ log p(x; σ) = (D − x)/σ² (Karras et al. 2022, eq. 3)."""
    return (denoised - x) / column(sigma, x) ** 2


def velocity(denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """v = α·ε − (ασ)·D with α = 1/√(1 + σ²), the variance-preserving scale.

    (Salimans & Ho 2022, § 4)
    """
    s = column(sigma, x)
    return (epsilon(denoised, x, sigma) - s * denoised) / (1 + s**2).sqrt()
