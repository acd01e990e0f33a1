"""Precision, recall, density and coverage: whether samples are near data and data near samples."""

import torch
from torch import Tensor

from degradations import InputError
from study.metrics.kernel import BLOCK, Features

PRECISION_K, DENSITY_K = 3, 5  # as in their papers


def radii(features: Features) -> Tensor:
    """Distances of every row to its five nearest other rows, rising: float64 [n, 5].

    The k-th is the row's r_k. features: [n, d]. Raises InputError if there are fewer than six rows.
    """
    if len(features) <= DENSITY_K:
        raise InputError(
            f"neighbours: found features {features.shape}; accepted: at least {DENSITY_K + 1}, "
            "[n, d]."
        )
    # PyTorch's threads, not NumPy's: two pools that wait by spinning would slow each other down
    # while sampling.
    rows = torch.from_numpy(features).double()
    squares = (rows * rows).sum(1)
    parts = zip(torch.split(rows, BLOCK), torch.split(squares, BLOCK), strict=True)
    return torch.cat(
        [_nearest(squared(part @ rows.T, own, squares), DENSITY_K) for part, own in parts]
    ).sqrt()


def squared(products: Tensor, x_squares: Tensor, y_squares: Tensor) -> Tensor:
    """|x − y|² = |x|² + |y|² − 2·x·y ≥ 0 from products [n, m] and squares [n], [m]: [n, m]."""
    return products.mul(-2).add_(x_squares[:, None]).add_(y_squares).clamp_(min=0)


def _nearest(distances: Tensor, k: int) -> Tensor:
    """The k smallest of every row, rising, without the very smallest, which is the row itself."""
    return distances.topk(k + 1, largest=False).values[:, 1:]


class Neighbours:
    """Counts for precision, recall, density and coverage, from products of features, by blocks.

        precision = meanₓ [∃y: |x − y| ≤ r₃(y)]      recall   = mean_y [∃x: |x − y| ≤ r₃(x)]
        density   = meanₓ #{y: |x − y| ≤ r₅(y)} / 5  coverage = mean_y [∃x: |x − y| ≤ r₅(y)]

    x: samples, y: data. x_squares: [n], |x|² of the samples; y_squares: [m], of the data; y_radii:
    [m, 5], `radii` of the data. (Precision and recall: Kynkäänniemi et al. 2019, k = 3; density and
    coverage: Naeem et al. 2020, k = 5)
    """

    def __init__(self, x_squares: Tensor, y_squares: Tensor, y_radii: Tensor) -> None:
        self._x_squares, self._y_squares = x_squares, y_squares
        self._near, self._wide = y_radii[:, PRECISION_K - 1] ** 2, y_radii[:, DENSITY_K - 1] ** 2
        self._precise, self._dense = 0, 0
        self._recalled, self._covered = (
            torch.zeros(len(y_squares), dtype=torch.bool) for _ in range(2)
        )

    def add(self, rows: slice, own: Tensor, across: Tensor) -> None:
        """Count the samples of some rows.

        own, across: products with all samples, [b, n], and with the data, [b, m].
        """
        squares = self._x_squares[rows]
        radius = _nearest(squared(own, squares, self._x_squares), PRECISION_K)[:, -1:]
        distances = squared(across, squares, self._y_squares)
        inside = distances <= self._wide
        self._precise += int((distances <= self._near).any(1).sum())
        self._recalled |= (distances <= radius).any(0)
        self._dense += int(inside.sum())
        self._covered |= inside.any(0)

    def scores(self) -> dict[str, float]:
        n = len(self._x_squares)
        return {
            "precision": self._precise / n,
            "recall": float(self._recalled.double().mean()),
            "density": self._dense / (DENSITY_K * n),
            "coverage": float(self._covered.double().mean()),
        }
