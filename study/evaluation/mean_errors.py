"""What can be said of a pairing without guided sampling: from mean errors, and from the denoising loss.

Errors are those against the base at the same (x, σ): e = E[D] − D_base over a denoiser's own randomness. Guided,

    e_w = w·e1 + (1 − w)·e0,    A = ⟨e1, e1⟩,  B = ⟨e0, e0⟩,  C = ⟨e1, e0⟩,

|e_w|² = w²A + 2w(1 − w)C + (1 − w)²B is least at w* = (B − C)/(A − 2C + B), above 1 if and only if C/A > 1. With the
cosine ρ = C/√(AB) and the ratio of lengths r = √(B/A) this criterion is C/A = ρ·r, and the share of |e1|² that w*
removes is 1 − B(1 − ρ²)/(A − 2C + B).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import Coupling, Denoiser, Draws, Refused
from study.sampling import SOLVERS, Start

Array = npt.NDArray[np.float64]
ROUNDING = 1e-12  # of products of float64, relative to those that they are differences of


@dataclass(frozen=True)
class Points:
    """Where errors are looked at: at each of L noise levels the same B images, with the weight of each level.

    x: [L, B, …]; sigmas, weights: [L]; labels: [B] or None; clean: [B, …], what x is a noised version of, or None.
    """

    x: Tensor
    sigmas: Sequence[float]
    weights: Sequence[float]
    labels: Tensor | None = None
    clean: Tensor | None = None


def noised(clean: Tensor, labels: Tensor | None, sigmas: Sequence[float], seed: int) -> Points:
    """Data with noise of every level, x = y + σn; the weight of a level is 1/σ², which makes errors those of ε."""
    draws = Draws(seed, role="probe")
    x = torch.stack([clean + sigma * draws.normal("noise", clean) for sigma in sigmas])
    return Points(x, sigmas, [sigma**-2 for sigma in sigmas], labels, clean)


@torch.inference_mode()
def along_trajectories(base: Denoiser, start: Start, sigmas: Sequence[float], solver: str, levels: int) -> Points:
    """The base's own trajectories at some of the sampler's noise levels, evenly spaced in their number.

    An error e at σ displaces the sample by e·Δσ/σ; the weight of a level is (ln σᵢ/σᵢ₊₁)², to the next
    level that is kept.
    """
    noise, labels, draws = start
    kept = sorted({round(i) for i in np.linspace(0, len(sigmas) - 2, levels)})
    x, found = noise * sigmas[0], []
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if index in kept:
            found.append(x)
        x = SOLVERS[solver](lambda x, sigma: base(x, sigma, labels, draws), x, sigma, sigma_next)
    chosen = [sigmas[index] for index in kept]
    apart = [math.log(a / b) ** 2 for a, b in pairwise(chosen)]
    return Points(torch.stack(found), chosen, [*apart, apart[-1]], labels)


@dataclass(frozen=True)
class Products:
    """Products of the mean errors of M denoisers: gram: [L, B, M, M], of each level and image, unbiased.

    names: [M]; sigmas, weights: [L].
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
    """Products of residuals D − y of M denoisers, of each image: means over draws, weighted sums over levels.

    names: [M]; shared: [B, M, M], under the same draws; guides: [G], those that were also given draws of their own;
    own: [B, G], their squares; across: [B, M, G], their products with the others' under the main's draws.
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
    """Unbiased ⟨eᵢ, eⱼ⟩ from K draws, summed over elements, (⟨Σeᵢᵏ, Σeⱼᵏ⟩ − Σ⟨eᵢᵏ, eⱼᵏ⟩)/(K(K − 1)).

    Every draw is shared by all denoisers, so the products of equal draws, which hold the covariance of the randomness,
    are left out also between different ones. What is estimated belongs to the means: the coupling does not matter.
    A denoiser that takes nothing from its draws is evaluated once.
    """
    return errors_and_residuals(base, denoisers, points, draws, seed=seed)[0]


@torch.inference_mode()
def errors_and_residuals(
    base: Denoiser, denoisers: Mapping[str, Denoiser], points: Points, draws: int, loss_draws: int = 0,
    guides: Sequence[str] = (), seed: int = 0,
) -> tuple[Products, Residuals | None]:  # fmt: skip
    """`mean_errors`, and from the first `loss_draws` of the same evaluations what `loss` is made of.

    guides: the denoisers that guide with draws of their own. Raises Refused for errors that are not finite, and for
    residuals at points without clean images.
    """
    names, guides, found, device = list(denoisers), list(dict.fromkeys(guides)), [], points.x.device
    if loss_draws and points.clean is None:
        raise Refused("probe: the loss wants noised data, found points without clean images.")
    residuals = _Residuals(len(names), len(guides), points) if loss_draws else None
    apart = {name: denoisers[name] for name in guides}
    for level, (x, sigma) in enumerate(zip(points.x, points.sigmas, strict=True)):
        clean = base(x, sigma, points.labels, Draws(seed, level))
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
        raise Refused(f"probe: the errors of {', '.join(bad)} are not finite.")
    products = Products(names, points.sigmas, points.weights, gram)
    return products, residuals.means(names, guides) if residuals is not None else None


def _evaluations(
    denoisers: Mapping[str, Denoiser], points: Points, level: int, seed: int, role: str = ""
) -> Iterator[Tensor]:
    """Estimates of all denoisers at a level, [M, B, …], under draw after draw, the same for all, or a role's child of
    each. One that takes nothing from its draws is evaluated once."""
    x, sigma, fixed = points.x[level], points.sigmas[level], dict[str, Tensor]()
    for k in count():
        estimates = []
        for name, denoiser in denoisers.items():
            if name not in fixed:
                draws = Draws(seed + 1 + k, level, "probe")
                estimate = denoiser(x, sigma, points.labels, draws.child(role) if role else draws)
                if draws.unused:
                    fixed[name] = estimate
            estimates.append(fixed.get(name, estimate))
        yield torch.stack(estimates) if estimates else x.new_zeros(0, *x.shape)


class _Residuals:
    """Sums that become `Residuals`."""

    def __init__(self, names: int, guides: int, points: Points) -> None:
        assert points.clean is not None
        self._clean, size = points.clean, len(points.clean)
        like = points.x.new_zeros(0, dtype=torch.float64)
        self._shared, self._own = like.new_zeros(size, names, names), like.new_zeros(size, guides)
        self._across = like.new_zeros(size, names, guides)

    def add(self, together: Tensor, alone: Tensor, weight: float) -> None:
        """Take in a draw's estimates [M, B, …] of all, and [G, B, …] of the guides with draws of their own."""
        r, own = ((d - self._clean).double().flatten(2).transpose(0, 1) for d in (together, alone))
        self._shared += weight * (r @ r.mT)
        self._own += weight * (own * own).sum(2)
        self._across += weight * (r @ own.mT)

    def means(self, names: Sequence[str], guides: Sequence[str]) -> Residuals:
        shared, own, across = (sums.cpu().numpy() for sums in (self._shared, self._own, self._across))
        return Residuals(names, shared, guides, own, across)


def _gram(e: Tensor) -> Tensor:
    """⟨eᵢ, eⱼ⟩ of each image: [M, B, …] → [B, M, M]."""
    flat = e.flatten(2).transpose(0, 1)
    return flat @ flat.mT


@dataclass(frozen=True)
class Forecast:
    """What the products of a main and a guide foretell; None where it is not determined.

    cosine: ρ; ratio: r; criterion: C/A = ρ·r, guidance with w > 1 lessens the mean error if and only if it is above 1;
    weight: w*; gain: the share of |e1|² that w* removes; with intervals at 95 % over images.
    """

    cosine: float | None
    ratio: float | None
    criterion: float | None
    criterion_ci: tuple[float, float] | None
    gain: float | None
    gain_ci: tuple[float, float] | None
    weight: float | None
    weight_ci: tuple[float, float] | None

    def as_dict(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}


def forecast(
    products: Products, main: str, guide: str, resamples: int = 1000, seed: int = 0, level: int | None = None
) -> Forecast:
    """The forecast of a pairing, of all levels with their weights, or of one; intervals by the bootstrap over images.

    Images are resampled jointly over the levels. Where the interval of A − 2C + B includes 0, weight and gain are
    undetermined; where that of A or B does, cosine and ratio are.
    """
    gram = products.of([main, guide])
    images = gram[level] if level is not None else np.einsum("l,lbij->bij", np.asarray(products.weights), gram)
    a, b, c = images[:, 0, 0], images[:, 1, 1], images[:, 0, 1]
    sums, total = _resampled(len(a), resamples, seed) @ np.stack([a, b, c], 1), (a.sum(), b.sum(), c.sum())
    value, (some_a, some_b, some_c) = _ratios(*total), (sums[:, 0], sums[:, 1], sums[:, 2])
    resampled = _ratios(some_a, some_b, some_c)
    bends = main != guide and _positive(some_a - 2 * some_c + some_b)
    has_a, has_b = _positive(some_a), _positive(some_b)

    def known(key: str, good: bool) -> float | None:
        return float(value[key]) if good and np.isfinite(value[key]) else None

    def interval(key: str, good: bool) -> tuple[float, float] | None:
        if known(key, good) is None:
            return None
        low, high = np.nanquantile(resampled[key], [0.025, 0.975])
        return float(low), float(high)

    return Forecast(
        known("cosine", has_a and has_b), known("ratio", has_a and has_b),
        known("criterion", has_a), interval("criterion", has_a),
        known("gain", has_a and bends), interval("gain", has_a and bends),
        known("weight", bends), interval("weight", bends),
    )  # fmt: skip


@lru_cache(maxsize=4)
def _resampled(images: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """How often each image is in each bootstrap sample, [resamples, images]: the same for every pairing and level."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def _ratios(a: Any, b: Any, c: Any) -> dict[str, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = a - 2 * c + b
        return {
            "cosine": c / np.sqrt(a * b), "ratio": np.sqrt(b / a), "criterion": c / a, "weight": (b - c) / bend,
            "gain": 1 - (a * b - c**2) / (bend * a),
        }  # fmt: skip


def _positive(resampled: Array) -> bool:
    """Whether the interval of a squared length leaves 0 out."""
    return bool(np.quantile(resampled, 0.025) > 0)


def several_guides(
    products: Products, main: str, guides: Sequence[str], resamples: int = 1000, seed: int = 0
) -> tuple[list[float], list[tuple[float, float]]]:
    """The weights of several guides, D = D1 + Σᵢ (wᵢ − 1)(D1 − D0ᵢ), that minimise the mean error, and intervals:

    w = 1 − G⁻¹g, G_ij = ⟨e1 − e0ᵢ, e1 − e0ⱼ⟩, g_i = ⟨e1, e1 − e0ᵢ⟩. Raises Refused where the interval of G's least
    eigenvalue includes 0: guides that err alike, whose weights are not determined.
    """
    images = np.einsum("l,lbij->bij", np.asarray(products.weights), products.of([main, *guides]))
    counts = _resampled(len(images), resamples, seed)
    gram = np.concatenate([images.sum(0)[None], np.tensordot(counts, images, 1)])
    difference = np.hstack([np.ones((len(guides), 1)), -np.eye(len(guides))])  # rows: e1 − e0ᵢ
    g_matrix, g = difference @ gram @ difference.T, (difference @ gram[:, :, :1])[:, :, 0]
    least = np.linalg.eigvalsh(g_matrix)[:, 0]
    if np.quantile(least, 0.025) <= 1e-9 * np.trace(g_matrix[0]):
        raise Refused(
            f"probe: as far as can be told, the errors of {', '.join(guides)} do not differ, and their weights are not "
            "determined; more draws (--probe.draws) or images (--probe.images) tell more."
        )
    weights = 1 - np.linalg.solve(g_matrix, g[..., None])[..., 0]
    low, high = np.quantile(weights[1:], [0.025, 0.975], axis=0)
    return weights[0].tolist(), list(zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class LossForecast:
    """The weight at which the denoising loss of D_w is least, its interval, and the share of the loss it removes."""

    weight: float | None
    weight_ci: tuple[float, float] | None
    gain: float | None


def loss(
    residuals: Residuals, main: str, guide: str, coupling: Coupling, resamples: int = 1000, seed: int = 0
) -> LossForecast:
    """Where E|D_w(y + σn) − y|², a quadratic in w, is least; it needs clean data (best held out) and no base.

    The loss contains the variance of the draws, so the coupling counts. The loss of a *trained* main is stationary in
    the direction of any fixed guide: its best weight is about 1 even where guidance improves the samples.
    """
    sums = residuals.of(main, guide, coupling)
    a, b, c = sums.sum(0)
    some = _resampled(len(sums), resamples, seed) @ sums
    if not _positive(some[:, 0] - 2 * some[:, 2] + some[:, 1] - ROUNDING * (a + b)):
        return LossForecast(None, None, None)
    value, resampled = _ratios(a, b, c), _ratios(some[:, 0], some[:, 1], some[:, 2])
    low, high = np.quantile(resampled["weight"], [0.025, 0.975])
    return LossForecast(float(value["weight"]), (float(low), float(high)), float(value["gain"]))
