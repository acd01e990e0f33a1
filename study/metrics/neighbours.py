"""Precision and recall, density and coverage: is a sample near the data, and are the data near samples."""

import torch
from torch import Tensor

from degradations import Refused
from study.metrics.kernel import Features

PRECISION_K, DENSITY_K = 3, 5  # as their papers have them
BLOCK = 256  # rows of distances at a time


def radii(features: Features) -> Tensor:
    """Distances of every row to its five nearest other rows, rising: float64 [n, 5]; the k-th is the row's r_k.

    features: [n, d]. Raises Refused for fewer than six rows.
    """
    if len(features) <= DENSITY_K:
        raise Refused(f"neighbours: at least {DENSITY_K + 1} features [n, d] are wanted, found {features.shape}.")
    # PyTorch's threads, not NumPy's: two pools that wait by spinning would slow each other down while sampling.
    rows = torch.from_numpy(features).double()
    nearest = [torch.cdist(part, rows).topk(DENSITY_K + 1, largest=False).values for part in torch.split(rows, BLOCK)]
    return torch.cat(nearest)[:, 1:]  # the nearest is the row itself


def neighbour_scores(x: Features, y: Features, y_radii: Tensor) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019, k = 3), density and coverage (Naeem et al. 2020, k = 5).

        precision = meanₓ [∃y: |x − y| ≤ r₃(y)]                recall   = mean_y [∃x: |x − y| ≤ r₃(x)]
        density   = meanₓ #{y: |x − y| ≤ r₅(y)} / 5            coverage = mean_y [∃x: |x − y| ≤ r₅(y)]

    x: features of samples, [n, d]; y: of the data, [m, d]; y_radii: radii(y), [m, 5]. All four depend on n and m.
    Raises Refused for fewer than six samples or another d.
    """
    if x.shape[1] != y.shape[1]:
        raise Refused(f"neighbours: two sets [≥ 6, d] of the same d are wanted, found {x.shape} and {y.shape}.")
    samples, data = torch.from_numpy(x).double(), torch.from_numpy(y).double()
    near, wide = y_radii[:, PRECISION_K - 1], y_radii[:, DENSITY_K - 1]
    own_radii = radii(x)[:, PRECISION_K - 1]
    precise, dense = 0, 0
    recalled, covered = torch.zeros(len(y), dtype=torch.bool), torch.zeros(len(y), dtype=torch.bool)
    for rows, own in zip(torch.split(samples, BLOCK), torch.split(own_radii, BLOCK), strict=True):
        distances = torch.cdist(rows, data)
        inside = distances <= wide
        precise += int((distances <= near).any(1).sum())
        recalled |= (distances <= own[:, None]).any(0)
        dense += int(inside.sum())
        covered |= inside.any(0)
    return {
        "precision": precise / len(x), "recall": float(recalled.double().mean()),
        "density": dense / (DENSITY_K * len(x)), "coverage": float(covered.double().mean()),
    }  # fmt: skip
