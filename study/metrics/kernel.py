"""Kernel distance between two sets of features."""

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
    """MMD² under k(a, b) = (a·b/d + 1)³, unbiased of two independent sets of independent samples.

    Other sets lower it. A set of n whose classes are in exact proportions has too few pairs of one
    class: by (K_same − K_all)/(n − 1), K the mean of k over the pairs of one class, and over all
    pairs. A reference of m that the samples were drawn from, or a model trained on: by up to
    (K_self − K_all)/m, K_self the mean of k(y, y). The first is nearly the same for all models that
    are sampled alike. (Bińkowski et al. 2018, § 4)

    x: [n, d]; y: [m, d]. With `subsets` > 0 the mean over so many random subsets of min(n, m,
    subset_size) of each, as the field's scripts have it; by default of all samples, which has less
    variance. Raises InputError for fewer than two samples or differing dimensions.
    """
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise InputError(
            f"kernel distance: two sets [≥ 2, d] of the same d are wanted, found {x.shape} and "
            f"{y.shape}."
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
    """The mean of k over the pairs of different samples of one set: what one side adds to the
    distance.

    total: Σ k(xᵢ, xⱼ) over all pairs, where it is known.
    """
    own = (((x.astype(np.float64) ** 2).sum(axis=1) / x.shape[1] + 1) ** 3).sum()
    return float(((_sum(x, x) if total is None else total) - own) / (len(x) * (len(x) - 1)))


def across(x: Features, y: Features) -> float:
    """The mean of k over the pairs of two sets: the distance is within(x) + within(y) − 2·across(x,
    y)."""
    return _sum(x, y) / (len(x) * len(y))


def _mmd(x: Features, y: Features) -> float:
    return within(x) + within(y) - 2 * across(x, y)


def cubes(products: Tensor, d: int) -> float:
    """Σ (p/d + 1)³ over the products a·b of features of d dimensions."""
    k = products.div(d).add_(1).flatten()
    return float(torch.dot(k * k, k))


def _sum(x: Features, y: Features) -> float:
    """Σ k(xᵢ, yⱼ), in blocks of rows that a cache holds."""
    # PyTorch's threads, not NumPy's: two pools that wait by spinning would slow each other down
    # while sampling.
    left, right = torch.from_numpy(x).double(), torch.from_numpy(y).double().T
    return sum(cubes(rows @ right, x.shape[1]) for rows in torch.split(left, BLOCK))
