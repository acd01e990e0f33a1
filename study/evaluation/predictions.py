"""Predictions for a pairing from mean errors and losses, without guided sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from degradations import Coupling, InputError
from study.evaluation.mean_errors import Array, Products, Residuals

ROUNDING = 1e-12  # of float64 products, relative to the terms of a difference


@dataclass(frozen=True)
class Prediction:
    """Predictions from the products of a main and a guide; None where undetermined.

    cosine: ρ; ratio: r; criterion: C/A = ρ·r, guidance with w > 1 reduces the mean error if and
    only if it is above 1; weight: w*; gain: the share of |e1|² that w* removes; with 95 %
    intervals over images.
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
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(self).items()
        }


def predict(
    products: Products,
    main: str,
    guide: str,
    resamples: int = 1000,
    seed: int = 0,
    level: int | None = None,
) -> Prediction:
    """The forecast of a pairing from all levels with their weights, or from one level.

    Intervals are from a bootstrap over images, resampled jointly over the levels. Where the
    interval of A − 2C + B includes 0, weight and gain are undetermined; where that of A or B does,
    cosine and ratio are.
    """
    gram = products.of([main, guide])
    images = (
        gram[level]
        if level is not None
        else np.einsum("l,lbij->bij", np.asarray(products.weights), gram)
    )
    a, b, c = images[:, 0, 0], images[:, 1, 1], images[:, 0, 1]
    sums, total = (
        _resampled(len(a), resamples, seed) @ np.stack([a, b, c], 1),
        (a.sum(), b.sum(), c.sum()),
    )
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

    return Prediction(
        known("cosine", has_a and has_b),
        known("ratio", has_a and has_b),
        known("criterion", has_a),
        interval("criterion", has_a),
        known("gain", has_a and bends),
        interval("gain", has_a and bends),
        known("weight", bends),
        interval("weight", bends),
    )


@lru_cache(maxsize=4)
def _resampled(images: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Counts of each image in each bootstrap sample, [resamples, images]; the same for all."""
    return np.random.default_rng(seed).multinomial(
        images, np.full(images, 1 / images), size=resamples
    )


def _ratios(a: Any, b: Any, c: Any) -> dict[str, Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = a - 2 * c + b
        return {
            "cosine": c / np.sqrt(a * b),
            "ratio": np.sqrt(b / a),
            "criterion": c / a,
            "weight": (b - c) / bend,
            "gain": 1 - (a * b - c**2) / (bend * a),
        }


def _positive(resampled: Array) -> bool:
    """Whether the interval of a squared length excludes 0."""
    return bool(np.quantile(resampled, 0.025) > 0)


def several_guides(
    products: Products, main: str, guides: Sequence[str], resamples: int = 1000, seed: int = 0
) -> tuple[list[float], list[tuple[float, float]]]:
    """The weights of several guides that minimise the mean error, and their intervals.

    D = D1 + Σᵢ (wᵢ − 1)(D1 − D0ᵢ); w = 1 − G⁻¹g, G_ij = ⟨e1 − e0ᵢ, e1 − e0ⱼ⟩,
    g_i = ⟨e1, e1 − e0ᵢ⟩. Raises InputError if the interval of G's smallest eigenvalue includes 0,
    as the weights of guides with similar errors are not determined.
    """
    images = np.einsum("l,lbij->bij", np.asarray(products.weights), products.of([main, *guides]))
    counts = _resampled(len(images), resamples, seed)
    gram = np.concatenate([images.sum(0)[None], np.tensordot(counts, images, 1)])
    difference = np.hstack([np.ones((len(guides), 1)), -np.eye(len(guides))])  # rows: e1 − e0ᵢ
    g_matrix, g = difference @ gram @ difference.T, (difference @ gram[:, :, :1])[:, :, 0]
    least = np.linalg.eigvalsh(g_matrix)[:, 0]
    if np.quantile(least, 0.025) <= 1e-9 * np.trace(g_matrix[0]):
        raise InputError(
            f"probe: the errors of {', '.join(guides)} do not differ significantly, so their "
            "weights are undetermined; use more draws (--probe.draws) or images (--probe.images)."
        )
    weights = 1 - np.linalg.solve(g_matrix, g[..., None])[..., 0]
    low, high = np.quantile(weights[1:], [0.025, 0.975], axis=0)
    return weights[0].tolist(), list(zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class LossForecast:
    """The weight that minimises the denoising loss of D_w, its interval, and the loss it removes.

    gain: the removed share of the loss.
    """

    weight: float | None
    weight_ci: tuple[float, float] | None
    gain: float | None


def loss(
    residuals: Residuals,
    main: str,
    guide: str,
    coupling: Coupling,
    resamples: int = 1000,
    seed: int = 0,
) -> LossForecast:
    """The weight that minimises the denoising loss E|D_w(y + σn) − y|², a quadratic in w.

    It needs clean data, preferably held out, and no base. The loss contains the variance of the
    draws, so it depends on the coupling. The loss of a *trained* main is stationary in the
    direction of any fixed guide: its best weight is about 1 even where guidance improves the
    samples.
    """
    sums = residuals.of(main, guide, coupling)
    a, b, c = sums.sum(0)
    some = _resampled(len(sums), resamples, seed) @ sums
    if not _positive(some[:, 0] - 2 * some[:, 2] + some[:, 1] - ROUNDING * (a + b)):
        return LossForecast(None, None, None)
    value, resampled = _ratios(a, b, c), _ratios(some[:, 0], some[:, 1], some[:, 2])
    low, high = np.quantile(resampled["weight"], [0.025, 0.975])
    return LossForecast(float(value["weight"]), (float(low), float(high)), float(value["gain"]))
