"""Mean errors and denoising losses of main and guide, from which the gain of guidance is predicted.

The mean error of a denoiser, against the base at the same (x, σ), is e = E[D] − D_base, with the
expectation over the denoiser's randomness. That of the guided denoiser is

    e_w = w·e1 + (1 − w)·e0,    A = ⟨e1, e1⟩,  B = ⟨e0, e0⟩,  C = ⟨e1, e0⟩,

|e_w|² = w²A + 2w(1 − w)C + (1 − w)²B is minimal at w* = (B − C)/(A − 2C + B), which is
above 1 if and only if C/A > 1. With the cosine ρ = C/√(AB) and the ratio of lengths r = √(B/A) this
criterion is C/A = ρ·r, and the share of |e1|² that w* removes is 1 − B(1 − ρ²)/(A − 2C + B).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import Condition, Coupling, Denoiser, Draws, InputError
from study.sampling import Start, solver_of

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """The points at which errors are evaluated: B images at each of L weighted noise levels.

    x: [L, B, …]; sigmas, weights: [L]; condition: of the B images; clean: [B, …], the images to
    which noise was added, or None.
    """

    x: Tensor
    sigmas: Sequence[float]
    weights: Sequence[float]
    condition: Condition | Tensor | None = None
    clean: Tensor | None = None


def noised(
    clean: Tensor, condition: Condition | Tensor | None, sigmas: Sequence[float], seed: int
) -> Points:
    """Data with noise of every level, x = y + σn; the weight 1/σ² makes errors those of ε."""
    draws = Draws(seed, role="probe")
    x = torch.stack([clean + sigma * draws.normal("noise", clean) for sigma in sigmas])
    return Points(x, sigmas, [sigma**-2 for sigma in sigmas], condition, clean)


@torch.inference_mode()
def along_trajectories(
    base: Denoiser, start: Start, sigmas: Sequence[float], solver: str, levels: int
) -> Points:
    """The base's trajectories at `levels` of the sampler's noise levels, evenly spaced by index.

    An error e at σ displaces the sample by e·Δσ/σ; the weight of a level is (ln σᵢ/σᵢ₊₁)², where
    σᵢ₊₁ is the next chosen level.
    """
    noise, condition, draws = start
    kept = sorted({round(i) for i in np.linspace(0, len(sigmas) - 2, levels)})
    x, found = noise * sigmas[0], []
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if index in kept:
            found.append(x)
        x = solver_of(solver).step(
            lambda x, sigma: base(x, sigma, condition, draws), x, sigma, sigma_next, draws
        )
    chosen = [sigmas[index] for index in kept]
    apart = [math.log(a / b) ** 2 for a, b in pairwise(chosen)]
    return Points(torch.stack(found), chosen, [*apart, apart[-1]], condition)


@dataclass(frozen=True)
class Products:
    """Unbiased products of the mean errors of M denoisers.

    gram: [L, B, M, M], for each level and image; names: [M]; sigmas, weights: [L].
    """

    names: Sequence[str]
    sigmas: Sequence[float]
    weights: Sequence[float]
    gram: Array

    def of(self, names: Sequence[str]) -> Array:
        """The products of some denoisers, in their order: [L, B, m, m]."""
        index = [self.names.index(name) for name in names]
        return self.gram[:, :, index][:, :, :, index]


@dataclass(frozen=True)
class Residuals:
    """Products of residuals D − y of M denoisers, averaged over draws and summed over levels.

    The sum over levels is weighted. names: [M]; shared: [B, M, M], with the same draws; guides:
    [G], those also evaluated with independent draws; own: [B, G], squared residuals of these;
    across: [B, M, G], their products with the residuals of all denoisers under the main's draws.
    """

    names: Sequence[str]
    shared: Array
    guides: Sequence[str]
    own: Array
    across: Array

    def of(self, main: str, guide: str, coupling: Coupling) -> Array:
        """|r1|², |r0|² and ⟨r1, r0⟩ of a main and a guide: [B, 3]."""
        i, j = self.names.index(main), self.names.index(guide)
        if coupling == "shared":
            return np.stack([self.shared[:, i, i], self.shared[:, j, j], self.shared[:, i, j]], 1)
        g = self.guides.index(guide)
        return np.stack([self.shared[:, i, i], self.own[:, g], self.across[:, i, g]], 1)


def mean_errors(
    base: Denoiser, denoisers: Mapping[str, Denoiser], points: Points, draws: int, seed: int = 0
) -> Products:
    """Unbiased estimates of ⟨eᵢ, eⱼ⟩ from K draws, summed over elements.

    (⟨Σeᵢᵏ, Σeⱼᵏ⟩ − Σ⟨eᵢᵏ, eⱼᵏ⟩)/(K(K − 1)). All denoisers share every draw, so products of equal
    draws contain the covariance of the randomness, and are left out also between different
    denoisers. The means do not depend on the coupling. A denoiser that uses no draws is evaluated
    once.
    """
    return errors_and_residuals(base, denoisers, points, draws, seed=seed)[0]


@torch.inference_mode()
def errors_and_residuals(
    base: Denoiser,
    denoisers: Mapping[str, Denoiser],
    points: Points,
    draws: int,
    loss_draws: int = 0,
    guides: Sequence[str] = (),
    seed: int = 0,
) -> tuple[Products, Residuals | None]:
    """`mean_errors`, and the residuals for `loss` from the first `loss_draws` of the same draws.

    guides: the denoisers that guide with independent draws. Raises InputError for errors that are
    not finite, and for residuals at points without clean images.
    """
    names, guides, found, device = list(denoisers), list(dict.fromkeys(guides)), [], points.x.device
    if loss_draws and points.clean is None:
        raise InputError("probe: found points without clean images; the loss needs noised data.")
    residuals = _Residuals(len(names), len(guides), points) if loss_draws else None
    apart = {name: denoisers[name] for name in guides}
    for level, (x, sigma) in enumerate(zip(points.x, points.sigmas, strict=True)):
        clean = base(x, sigma, points.condition, Draws(seed, level))
        total = torch.zeros(len(names), *x.shape, dtype=torch.float64, device=device)
        same = torch.zeros(len(x), len(names), len(names), dtype=torch.float64, device=device)
        together = _evaluations(denoisers, points, level, seed)
        alone = _evaluations(apart, points, level, seed, role="guide")
        for k in range(draws):
            d = next(together)
            e = (d - clean).double()
            total += e
            same += _gram(e)
            if residuals is not None and k < loss_draws:
                residuals.add(d, next(alone), points.weights[level] / loss_draws)
        found.append((_gram(total) - same) / (draws * (draws - 1)))
    gram = torch.stack(found).cpu().numpy()
    if not np.isfinite(gram).all():
        bad = [name for i, name in enumerate(names) if not np.isfinite(gram[..., i, i]).all()]
        raise InputError(f"probe: the errors of {', '.join(bad)} are not finite.")
    products = Products(names, points.sigmas, points.weights, gram)
    return products, residuals.means(names, guides) if residuals is not None else None


def _evaluations(
    denoisers: Mapping[str, Denoiser], points: Points, level: int, seed: int, role: str = ""
) -> Iterator[Tensor]:
    """Estimates of all denoisers at a level, [M, B, …], for one draw after another.

    The draws are the same for all, or their child for a role. A denoiser that uses no draws is
    evaluated once.
    """
    x, sigma, fixed = points.x[level], points.sigmas[level], dict[str, Tensor]()
    for k in count():
        estimates = []
        for name, denoiser in denoisers.items():
            if name not in fixed:
                draws = Draws(seed + 1 + k, level, "probe")
                estimate = denoiser(
                    x, sigma, points.condition, draws.child(role) if role else draws
                )
                if draws.unused:
                    fixed[name] = estimate
            estimates.append(fixed.get(name, estimate))
        yield torch.stack(estimates) if estimates else x.new_zeros(0, *x.shape)


class _Residuals:
    """Running sums from which `Residuals` are computed."""

    def __init__(self, names: int, guides: int, points: Points) -> None:
        assert points.clean is not None
        self._clean, size = points.clean, len(points.clean)
        like = points.x.new_zeros(0, dtype=torch.float64)
        self._shared, self._own = like.new_zeros(size, names, names), like.new_zeros(size, guides)
        self._across = like.new_zeros(size, names, guides)

    def add(self, together: Tensor, alone: Tensor, weight: float) -> None:
        """Add a draw's estimates: of all [M, B, …], and of independently drawn guides [G, B, …]."""
        r, own = ((d - self._clean).double().flatten(2).transpose(0, 1) for d in (together, alone))
        self._shared += weight * (r @ r.mT)
        self._own += weight * (own * own).sum(2)
        self._across += weight * (r @ own.mT)

    def means(self, names: Sequence[str], guides: Sequence[str]) -> Residuals:
        shared, own, across = (
            sums.cpu().numpy() for sums in (self._shared, self._own, self._across)
        )
        return Residuals(names, shared, guides, own, across)


def _gram(e: Tensor) -> Tensor:
    """⟨eᵢ, eⱼ⟩ of each image: [M, B, …] → [B, M, M]."""
    flat = e.flatten(2).transpose(0, 1)
    return flat @ flat.mT
