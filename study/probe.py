"""What can be said of a pairing without guided sampling: from mean errors, and from the denoising loss.

Errors are those against the base at the same (x, σ): e = E[D] − D_base over a denoiser's own randomness. Guided,

    e_w = w·e1 + (1 − w)·e0,    A = ⟨e1, e1⟩,  B = ⟨e0, e0⟩,  C = ⟨e1, e0⟩,

|e_w|² = w²A + 2w(1 − w)C + (1 − w)²B is least at w* = (B − C)/(A − 2C + B), above 1 if and only if C/A > 1. With the
cosine ρ = C/√(AB) and the ratio of lengths r = √(B/A) this criterion is C/A = ρ·r, and the share of |e1|² that w*
removes is 1 − B(1 − ρ²)/(A − 2C + B).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import Coupling, Denoiser, Draws, Guided, Refused
from study.sampling import SOLVERS, Start

Array = npt.NDArray[np.float64]


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


@torch.inference_mode()
def mean_errors(
    base: Denoiser, denoisers: Mapping[str, Denoiser], points: Points, draws: int, seed: int = 0
) -> Products:
    """Unbiased ⟨eᵢ, eⱼ⟩ from K draws, summed over elements, (⟨Σeᵢᵏ, Σeⱼᵏ⟩ − Σ⟨eᵢᵏ, eⱼᵏ⟩)/(K(K − 1)).

    Every draw is shared by all denoisers, so the products of equal draws, which hold the covariance of the randomness,
    are left out also between different ones. What is estimated belongs to the means: the coupling does not matter.
    A denoiser that takes nothing from its draws is evaluated once.
    """
    names, found = list(denoisers), []
    device = points.x.device
    for level, (x, sigma) in enumerate(zip(points.x, points.sigmas, strict=True)):
        clean = base(x, sigma, points.labels, Draws(seed, level))
        total = torch.zeros(len(names), *x.shape, dtype=torch.float64, device=device)
        same = torch.zeros(len(x), len(names), len(names), dtype=torch.float64, device=device)
        fixed: dict[str, Tensor] = {}
        for k in range(draws):
            errors = []
            for name, denoiser in denoisers.items():
                if name not in fixed:
                    own = Draws(seed + 1 + k, level, "probe")
                    error = denoiser(x, sigma, points.labels, own) - clean
                    if own.unused:
                        fixed[name] = error
                errors.append(fixed.get(name, error))
            e = torch.stack(errors).double()
            total += e
            same += _gram(e)
        found.append((_gram(total) - same) / (draws * (draws - 1)))
    gram = torch.stack(found).cpu().numpy()
    if not np.isfinite(gram).all():
        bad = [name for i, name in enumerate(names) if not np.isfinite(gram[..., i, i]).all()]
        raise Refused(f"probe: the errors of {', '.join(bad)} are not finite.")
    return Products(names, points.sigmas, points.weights, gram)


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
    counts = np.random.default_rng(seed).multinomial(len(a), np.full(len(a), 1 / len(a)), size=resamples)
    sums, total = counts @ np.stack([a, b, c], 1), (a.sum(), b.sum(), c.sum())
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
    counts = np.random.default_rng(seed).multinomial(len(images), np.full(len(images), 1 / len(images)), size=resamples)
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


@torch.inference_mode()
def loss(
    main: Denoiser,
    guide: Denoiser,
    coupling: Coupling,
    points: Points,
    draws: int,
    resamples: int = 1000,
    seed: int = 0,
) -> LossForecast:
    """Where E|D_w(y + σn) − y|², a quadratic in w, is least; it needs clean data (best held out) and no base.

    The loss contains the variance of the draws, so the coupling counts. The loss of a *trained* main is stationary in
    the direction of any fixed guide: its best weight is about 1 even where guidance improves the samples.
    """
    if points.clean is None:
        raise Refused("probe: the loss wants noised data, found points without clean images.")
    pair = Guided(main, guide, 1.0, coupling)
    sums = np.zeros((len(points.clean), 3))
    for level, (x, sigma, weight) in enumerate(zip(points.x, points.sigmas, points.weights, strict=True)):
        for k in range(draws):
            given = Draws(seed + 1 + k, level, "probe")
            other = given.twin() if pair.coupling == "shared" else given.child("guide")
            r0 = (guide(x, sigma, points.labels, other) - points.clean).flatten(1).double()
            r1 = (main(x, sigma, points.labels, given) - points.clean).flatten(1).double()
            products = torch.stack([(r1 * r1).sum(1), (r0 * r0).sum(1), (r1 * r0).sum(1)], 1)
            fixed = given.unused and other.unused
            sums += weight / (1 if fixed else draws) * products.cpu().numpy()
            if fixed:
                break  # without randomness every draw is the same
    counts = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    a, b, c = sums.sum(0)
    some = counts @ sums
    if not _positive(some[:, 0] - 2 * some[:, 2] + some[:, 1]):
        return LossForecast(None, None, None)
    value, resampled = _ratios(a, b, c), _ratios(some[:, 0], some[:, 1], some[:, 2])
    low, high = np.quantile(resampled["weight"], [0.025, 0.975])
    return LossForecast(float(value["weight"]), (float(low), float(high)), float(value["gain"]))
