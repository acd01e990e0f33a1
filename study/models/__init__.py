"""Base denoisers: exact ones, and networks with their preconditioning."""

from study.models.exact import ExactGaussian, ExactMixture
from study.models.mlp import ResidualMLP
from study.models.preconditioning import EDM, Network

__all__ = ["EDM", "ExactGaussian", "ExactMixture", "Network", "ResidualMLP"]
