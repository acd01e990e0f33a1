"""Base denoisers: exact ones, and networks with their preconditioning."""

from study.models.exact import ExactGaussian, ExactMixture
from study.models.mlp import ResidualMLP
from study.models.preconditioning import EDM, Network, Preconditioned
from study.models.transformer import PatchTransformer

__all__ = [
    "EDM",
    "ExactGaussian",
    "ExactMixture",
    "Network",
    "PatchTransformer",
    "Preconditioned",
    "ResidualMLP",
]
