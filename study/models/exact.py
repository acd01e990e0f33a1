"""Denoisers in closed form, for distributions whose noised density is known."""

from functools import partial

import torch
from torch import Tensor

from degradations import Denoiser, Draws, InputError, LabelSite, NoisyClassifier
from degradations.condition import NONE, Condition, condition_of
from degradations.denoiser import column


class ExactGaussian(Denoiser):
    """The exact denoiser of N(mean, std²·I) in any dimension.

    D(x; σ) = mean + std²/(std² + σ²)·(x − mean); std, mean: in the units of x. Raises InputError
    unless std > 0. (Karras et al. 2022, appendix B.6)
    """

    def __init__(self, std: float, mean: float = 0.0) -> None:
        super().__init__()
        if not std > 0:
            raise InputError(f"ExactGaussian: found std {std}; accepted: a number above 0.")
        self.std, self.mean, self.crops = std, mean, 1

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        s = column(sigma, x)
        return self.mean + self.std**2 / (self.std**2 + s**2) * (x - self.mean)


class ExactMixture(Denoiser):
    """The exact denoiser of a mixture Σₖ πₖ N(μₖ, Σₖ) of K Gaussians, optionally with classes.

    D(x; σ) = Σₖ rₖ(x) [μₖ + Σₖ(Σₖ + σ²I)⁻¹(x − μₖ)], rₖ ∝ πₖ N(x; μₖ, Σₖ + σ²I).

    means: [K, d]; covariances: [K, d, d]; weights: [K], positive, any scale; classes: [K] the class
    of each component or None. A label restricts the mixture to the components of its class; −1
    means no restriction. x: [B, d]. With classes it has a site of the role 'label'. Raises
    InputError if the shapes differ from these.
    """

    means: Tensor
    variances: Tensor
    axes: Tensor
    log_weights: Tensor
    classes: Tensor | None

    def __init__(
        self, means: Tensor, covariances: Tensor, weights: Tensor, classes: Tensor | None = None
    ) -> None:
        super().__init__()
        k, d = means.shape
        if covariances.shape != (k, d, d) or weights.shape != (k,):
            raise InputError(
                f"ExactMixture: found covariances {list(covariances.shape)} and weights "
                f"{list(weights.shape)}; accepted with means {[k, d]}: {[k, d, d]} and {[k]}."
            )
        variances, axes = torch.linalg.eigh(covariances)
        self.register_buffer("means", means)
        self.register_buffer("variances", variances.clamp(min=0))
        self.register_buffer("axes", axes)
        self.register_buffer("log_weights", (weights / weights.sum()).log())
        self.register_buffer("classes", classes)
        self.label = LabelSite(int(classes.max()) + 1) if classes is not None else None
        self.classifier = partial(ExactClassifier, self) if classes is not None else None

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        if self.label is not None and condition.label is not None:
            condition = condition._replace(label=self.label(condition.label, draws))
        rotated, total, logs = self._components(x, sigma, condition)
        axes, variances = self.axes.to(x.dtype), self.variances.to(x.dtype)
        shrunk = torch.einsum("bkj,kij->bki", rotated * variances / total, axes)
        return torch.einsum("bk,bki->bi", logs.softmax(dim=1), self.means.to(x.dtype) + shrunk)

    def log_density(
        self, x: Tensor, sigma: Tensor | float, given: Condition | Tensor | None = None
    ) -> Tensor:
        """log p(x; σ), [B], of the mixture.

        With a label, of its class, with the weights of its components normalised.
        """
        return self._components(x, sigma, condition_of(given))[2].logsumexp(dim=1)

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n clean samples, [n, d], and the component of each, [n]."""
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[k] + torch.einsum(
            "bij,bj->bi", self.axes[k], self.variances[k].sqrt() * z
        ), k

    def _components(
        self, x: Tensor, sigma: Tensor | float, condition: Condition
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets along the axes, variances and log densities, of every sample and component.

        The offsets [B, K, d], the variances along the axes [·, K, d], and log(πₖ N(x; μₖ, Σₖ +
        σ²I)) [B, K].
        """
        rotated = torch.einsum(
            "bki,kij->bkj", x[:, None] - self.means.to(x.dtype), self.axes.to(x.dtype)
        )
        total = self.variances.to(x.dtype) + column(sigma, x)[..., None] ** 2
        logs = self.log_weights.to(x.dtype)
        label = condition.label
        if label is not None and self.classes is not None:
            logs = torch.where(
                (label[:, None] == self.classes) | (label[:, None] < 0), logs, -torch.inf
            )
            logs = logs - logs.logsumexp(dim=1, keepdim=True)
        gauss = -0.5 * (rotated**2 / total + (2 * torch.pi * total).log()).sum(dim=2)
        return rotated, total, logs + gauss


class ExactClassifier(NoisyClassifier):
    """log p(c | x; σ) of a mixture with classes, in closed form; x: [B, d]."""

    def __init__(self, mixture: ExactMixture) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        logs, classes = self.mixture._components(x, sigma, NONE)[2], self.mixture.classes
        assert classes is not None
        each = [logs[:, classes == c].logsumexp(dim=1) for c in range(int(classes.max()) + 1)]
        return torch.stack(each, dim=1) - logs.logsumexp(dim=1, keepdim=True)
