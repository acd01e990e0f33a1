"""Distances of samples to the training data, a check against memorisation."""

import torch
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
