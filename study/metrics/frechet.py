"""The Fréchet distance between Gaussian fits."""

from functools import cached_property

import numpy as np
import scipy.linalg
import torch

from degradations import InputError
from study.metrics.moments import Array


class FrechetReference:
    """Fréchet distances to one reference N(μ_r, Σ_r), whose triangular root is computed once.

    mean: [d]; covariance: [d, d], symmetric.
    """

    def __init__(self, mean: Array, covariance: Array) -> None:
        self.mean, self.covariance = mean, covariance

    @cached_property
    def root(self) -> Array:
        """The upper triangular R with Σ_r = RᵀR, for singular Σ_r too.

        Negative eigenvalues, which come from rounding, count as zero.
        """
        factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(self.covariance), upper=True)
        if not failed:
            return np.asfortranarray(factor.numpy())
        values, vectors = scipy.linalg.eigh(self.covariance)
        (root,) = scipy.linalg.qr((vectors * np.sqrt(values.clip(min=0))).T, mode="r")
        return np.asfortranarray(root)

    def distance(self, mean: Array, covariance: Array) -> float:
        """The sum of `parts`, never below 0."""
        return sum(self.parts(mean, covariance))

    def parts(self, mean: Array, covariance: Array) -> tuple[float, float]:
        """|μ − μ_r|² and Tr(Σ + Σ_r − 2√(ΣΣ_r)), where Tr √(ΣΣ_r) = Σᵢ √λᵢ(RΣRᵀ).

        (Dowson & Landau 1982) mean: [d]; covariance: [d, d], symmetric. RΣRᵀ is symmetric, so
        `eigvalsh` finds its eigenvalues; a general matrix root is not needed, and LAPACK's sygst
        forms it from a triangular R with a quarter of the arithmetic. Raises InputError if the
        dimensions differ.
        """
        if mean.shape != self.mean.shape:
            raise InputError(
                f"Fréchet distance: found features of {len(mean)} dimensions; accepted: "
                f"{len(self.mean)}, as in the reference."
            )
        product, _ = scipy.linalg.lapack.dsygst(covariance, self.root, itype=2)
        values = torch.linalg.eigvalsh(torch.from_numpy(product), UPLO="U").numpy()
        trace = (
            np.trace(covariance) + np.trace(self.covariance) - 2 * np.sqrt(values.clip(min=0)).sum()
        )
        # The root turns rounding of 1e-16 into 1e-8, which may make the trace negative.
        return float(((mean - self.mean) ** 2).sum()), max(float(trace), 0.0)
