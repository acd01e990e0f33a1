"""Fréchet distance between Gaussian fits."""

from functools import cached_property

import numpy as np
import scipy.linalg

from degradations import Refused
from study.metrics.moments import Array


class FrechetReference:
    """Fréchet distances to one reference N(μ_r, Σ_r), whose root R = √Σ_r is computed once.

    mean: [d]; covariance: [d, d], symmetric.
    """

    def __init__(self, mean: Array, covariance: Array) -> None:
        self.mean, self.covariance = mean, covariance

    @cached_property
    def root(self) -> Array:
        """R = √Σ_r, symmetric, by `eigh`; rounding's negative eigenvalues count as zero."""
        values, vectors = scipy.linalg.eigh(self.covariance)
        root: Array = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
        return root

    def distance(self, mean: Array, covariance: Array) -> float:
        """|μ − μ_r|² + Tr(Σ + Σ_r − 2√(ΣΣ_r)), where Tr √(ΣΣ_r) = Σᵢ √λᵢ(RΣR) (Dowson & Landau 1982).

        RΣR is symmetric, so `eigvalsh` finds its eigenvalues; a general matrix root is not needed. Raises Refused where
        the dimensions differ.
        """
        if mean.shape != self.mean.shape:
            raise Refused(
                f"Fréchet distance: features of {mean.shape[0]} dimensions, reference of {self.mean.shape[0]}."
            )
        values = scipy.linalg.eigvalsh(self.root @ covariance @ self.root)
        trace = np.trace(covariance) + np.trace(self.covariance) - 2 * np.sqrt(values.clip(min=0)).sum()
        return float(((mean - self.mean) ** 2).sum() + trace)
