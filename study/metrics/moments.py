"""Means and covariances of features, streamed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from degradations import RunError

Array = npt.NDArray[np.float64]


@dataclass
class Moments:
    """Running (n, Σf, Σffᵀ) in float64; two of them are merged by `+`.

    The sum equals that over both streams, to rounding. total: [d]; product: [d, d]; memory does not
    depend on n.
    """

    total: Array
    product: Array
    n: int = 0

    @classmethod
    def zeros(cls, d: int) -> "Moments":
        return cls(np.zeros(d), np.zeros((d, d)))

    def fold(self, features: Tensor) -> None:
        """Add features, [B, d]. Raises RunError if some are not finite."""
        f = features.double()
        bad = int((~f.isfinite().all(dim=1)).sum())
        if bad:
            raise RunError(
                f"{bad} of {len(f)} samples in a chunk have features that are not finite."
            )
        self.total += f.sum(dim=0).cpu().numpy()
        self.product += (f.T @ f).cpu().numpy()
        self.n += len(f)

    def sum_over(self, add: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> None:
        """Replace the sums by those over all processes of a group, which `add` gives, in place."""
        self.n = int(add(np.array([self.n]))[0])
        self.total, self.product = add(self.total), add(self.product)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.total + other.total, self.product + other.product, self.n + other.n)

    @property
    def mean(self) -> Array:
        """μ, [d]."""
        return self.total / self.n

    @property
    def covariance(self) -> Array:
        """Σ with the divisor n − 1, [d, d]. Raises RunError if there are fewer than two samples."""
        if self.n < 2:
            raise RunError(f"covariance: found {self.n} samples; accepted: at least 2.")
        mean: Array = self.mean
        covariance: Array = (self.product - self.n * np.outer(mean, mean)) / (self.n - 1)
        return covariance
