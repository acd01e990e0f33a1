"""The kernel distance between two sets of features."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import InputError

Features = npt.NDArray[np.floating]
BLOCK = 256  # rows of products at a time


def kernel_distance(
    x: Features, y: Features, subsets: int = 0, subset_size: int = 1000, seed: int = 0
) -> float:
    """MMD² with k(a, b) = (a·b/d + 1)³, unbiased for two independent sets of independent samples.

    Other sets lower it. A set of n samples with classes in exact proportions has too few pairs
    within a class, which lowers it by (K_same − K_all)/(n − 1), K the mean of k over the pairs of
    one class, and over all pairs. A reference of m samples that the samples were drawn from, or
    that the model was trained on, lowers it by up to (K_self − K_all)/m, K_self the mean of k(y,
    y). The first is nearly the same for all models that are sampled in the same way. (Bińkowski et
    al. 2018, § 4)

    x: [n, d]; y: [m, d]. With `subsets` > 0 the result is the mean over that many random subsets of
    min(n, m, subset_size) of each, as in the usual scripts; by default all samples are used, which
    has less variance. Raises InputError if there are fewer than two samples or the dimensions
    differ.
    """
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise InputError(
            f"kernel distance: found {x.shape} and {y.shape}; accepted: two sets [≥ 2, d] of the "
            "same d."
        )
    if not subsets:
        return _mmd(x, y)
    size, rng = min(len(x), len(y), subset_size), np.random.default_rng(seed)
    picks = (
        (rng.choice(len(x), size, replace=False), rng.choice(len(y), size, replace=False))
        for _ in range(subsets)
    )
    return float(np.mean([_mmd(x[i], y[j]) for i, j in picks]))


def within(x: Features, total: float | None = None) -> float:
    """The mean of k over the pairs of different samples of one set, one part of the distance.

    total: Σ k(xᵢ, xⱼ) over all pairs, if it is known.
    """
    own = (((x.astype(np.float64) ** 2).sum(axis=1) / x.shape[1] + 1) ** 3).sum()
    return float(((_sum(x, x) if total is None else total) - own) / (len(x) * (len(x) - 1)))


def across(x: Features, y: Features) -> float:
    """The mean of k over the pairs of two sets.

    The distance is within(x) + within(y) − 2·across(x, y).
    """
    return _sum(x, y) / (len(x) * len(y))


def _mmd(x: Features, y: Features) -> float:
    return within(x) + within(y) - 2 * across(x, y)


def cubes(products: Tensor, d: int) -> float:
    """Σ (p/d + 1)³ over the products a·b of features of d dimensions."""
    k = products.div(d).add_(1).flatten()
    return float(torch.dot(k * k, k))


def _sum(x: Features, y: Features) -> float:
    """Σ k(xᵢ, yⱼ), in blocks of rows that fit in a cache."""
    # PyTorch's threads, not NumPy's: two pools that wait by spinning would slow each other down
    # while sampling.
    left, right = torch.from_numpy(x).double(), torch.from_numpy(y).double().T
    return sum(cubes(rows @ right, x.shape[1]) for rows in torch.split(left, BLOCK))
