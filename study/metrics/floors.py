"""Floors of the Fréchet distance: what a perfect model, or a memoriser, scores with few samples."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import InputError
from study.metrics.frechet import FrechetReference
from study.metrics.moments import Moments
from study.sampling import stratified

Array = npt.NDArray[np.float64]


def perfect_floor(reference: FrechetReference, n: int, seed: int = 0) -> float:
    """The mean FD of n independent samples of N(μ_r, Σ_r) itself: what so few samples cost.

    Their mean and covariance are drawn, from a normal and a Wishart distribution. Raises InputError
    for fewer than two samples.
    """
    if n < 2:
        raise InputError(f"floor: found {n} samples; accepted: at least 2.")
    rng, root, found = np.random.default_rng(seed), reference.root, []
    for _ in range(_draws(len(reference.mean))):
        mean = reference.mean + rng.standard_normal(len(root)) @ root / np.sqrt(n)
        factor = torch.from_numpy(_wishart_root(rng, len(root), n - 1)) @ torch.from_numpy(root)
        found.append(reference.distance(mean, (factor.T @ factor / (n - 1)).numpy()))
    return float(np.mean(found))


def memoriser_floor(
    reference: FrechetReference, features: Tensor, labels: Tensor | None, n: int, seed: int = 0
) -> float:
    """The mean FD of n training data drawn with replacement, the classes in their exact shares.

    That is a model that has memorised its data and does nothing else. features: [N, d] of the data;
    labels: [N] or None.
    """
    generator, found = torch.Generator().manual_seed(seed), []
    labels = torch.zeros(len(features), dtype=torch.long) if labels is None else labels
    counts = torch.bincount(labels)
    wanted = torch.bincount(stratified(counts, n), minlength=len(counts))
    for _ in range(_draws(len(reference.mean))):
        chosen = torch.cat(
            [
                rows[torch.randint(len(rows), (int(count),), generator=generator)]
                for label, count in enumerate(wanted)
                if count and len(rows := (labels == label).nonzero()[:, 0])
            ]
        )
        moments = Moments.zeros(features.shape[1])
        moments.fold(features[chosen])
        found.append(reference.distance(moments.mean, moments.covariance))
    return float(np.mean(found))


def _draws(d: int) -> int:
    """The draws over which FD of d features is averaged: the more features, the less FD varies."""
    return max(4, 4096 // d)


def _wishart_root(rng: np.random.Generator, d: int, degrees: int) -> Array:
    """F [k, d] with FᵀF of the Wishart distribution of `degrees` degrees of freedom and I.

    With at least d of them F is triangular (Bartlett 1933).
    """
    if degrees < d:
        return rng.standard_normal((degrees, d))
    factor = np.triu(rng.standard_normal((d, d)), 1)
    factor[np.diag_indices(d)] = np.sqrt(rng.chisquare(degrees - np.arange(d)))
    return factor
