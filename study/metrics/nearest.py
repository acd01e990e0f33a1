"""Distances of samples to the training data, a check against memorisation."""

import math

import torch
from scipy.special import ndtri
from torch import Tensor


def nearest(samples: Tensor, data: Tensor, block: int = 1024) -> Tensor:
    """The distance of every sample to its nearest datum, ‖x − y‖₂ over all elements, [n].

    samples: [n, …]; data: [N, …]. For the data themselves use `nearest_other`, which excludes each
    datum itself.
    """
    return torch.cat(
        [
            torch.cdist(part, data.flatten(1)).amin(1)
            for part in torch.split(samples.flatten(1), block)
        ]
    )


def nearest_other(data: Tensor, block: int = 1024) -> Tensor:
    """The distance of every datum to its nearest other datum, [N]."""
    flat = data.flatten(1)
    parts = []
    for start in range(0, len(flat), block):
        distances = torch.cdist(flat[start : start + block], flat)
        rows = torch.arange(len(distances))
        distances[rows, rows + start] = torch.inf
        parts.append(distances.amin(1))
    return torch.cat(parts)


def training_share(
    samples: Tensor, training: Tensor, held_out: Tensor, level: float = 0.95
) -> tuple[float, float, float]:
    """The share of samples whose nearest datum is one of training, not of what was held out.

    With the ends of its interval. A model that has learned the distribution, but not its training
    data, has the share N_t/(N_t + N_h) of data in training, as both parts are alike to it. The m_k
    samples with one nearest datum are not independent; the interval is that of n²/Σ_k m_k²
    independent ones, which covers data that are the nearest to many. (Wilson 1927; Kish 1965)
    """
    data = torch.cat([training, held_out])
    nearest = torch.cat(
        [
            torch.cdist(part, data.flatten(1)).argmin(1)
            for part in torch.split(samples.flatten(1), 1024)
        ]
    )
    sizes = torch.bincount(nearest, minlength=len(data)).double()
    inside = (torch.arange(len(data)) < len(training)).double()
    p = float((sizes * inside).sum() / len(samples))
    n, z = len(samples) ** 2 / float((sizes**2).sum()), float(ndtri((1 + level) / 2))
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p, max(middle - half, 0.0), min(middle + half, 1.0)
