"""How far samples are from the training data: a check against memorising."""

import torch
from torch import Tensor


def nearest(samples: Tensor, data: Tensor, block: int = 1024) -> Tensor:
    """Distance of every sample to its nearest datum, ‖x − y‖₂ over all elements, [n].

    samples: [n, …]; data: [N, …]. For `samples` = `data` pass `nearest_other`, which leaves a
    datum's own out.
    """
    return torch.cat(
        [
            torch.cdist(part, data.flatten(1)).amin(1)
            for part in torch.split(samples.flatten(1), block)
        ]
    )


def nearest_other(data: Tensor, block: int = 1024) -> Tensor:
    """Distance of every datum to its nearest other datum, [N]."""
    flat = data.flatten(1)
    parts = []
    for start in range(0, len(flat), block):
        distances = torch.cdist(flat[start : start + block], flat)
        rows = torch.arange(len(distances))
        distances[rows, rows + start] = torch.inf
        parts.append(distances.amin(1))
    return torch.cat(parts)
