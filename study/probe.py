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
        raise Refused(
            f"probe: the errors of {', '.join(guides)} do not differ as far as can be told, so their weights are not determined; "
            "more draws (--probe.draws) or images (--probe.images) tell more."
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
    if not _away_from_zero(some[:, 0] - 2 * some[:, 2] + some[:, 1]):
        return LossForecast(None, None, None)
    value, resampled = _ratios(a, b, c), _ratios(some[:, 0], some[:, 1], some[:, 2])
    low, high = np.quantile(resampled["weight"], [0.025, 0.975])
    return LossForecast(float(value["weight"]), (float(low), float(high)), float(value["gain"]))
