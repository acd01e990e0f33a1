"""The 2-D example of the autoguidance paper: a tree of narrow Gaussians.

Its density, score and samples are exact.
"""

import math

import torch
from torch import Tensor

from study.data.data import Data
from study.models import ExactMixture

LEVELS, PER_BRANCH, SAMPLES = 7, 8, 65536


def fractal() -> Data:
    """Points of one class of the tree, [65536, 2], with standard deviation about 0.5.

    Drawn once, with a fixed seed. A branch is a row of 8 Gaussians and splits into two shorter,
    thinner branches, over 7 levels: 127 branches, 1016 Gaussians. (After Karras et al. 2024, § 3,
    figure 1; the constants are our own.)
    """
    exact = tree()
    samples, _ = exact.draw(SAMPLES, torch.Generator().manual_seed(0))
    return Data("fractal", samples.float(), exact=exact)


def tree() -> ExactMixture:
    """The density of the fractal, centred, with standard deviation 0.5.

    The standard deviation is the root mean square over both coordinates.
    """
    means: list[Tensor] = []
    covariances: list[Tensor] = []
    weights: list[float] = []

    def grow(
        start: Tensor, angle: float, length: float, width: float, weight: float, level: int
    ) -> None:
        along = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        across = torch.stack([-along[1], along[0]])
        spacing = length / PER_BRANCH
        covariance = (
            torch.outer(along, along) * (0.5 * spacing) ** 2
            + torch.outer(across, across) * width**2
        )
        for i in range(PER_BRANCH):
            means.append(start + along * spacing * (i + 0.5))
            covariances.append(covariance)
            weights.append(weight / PER_BRANCH)
        if level + 1 < LEVELS:
            for turn, shorter in ((0.6, 0.72), (-0.75, 0.66)):
                grow(
                    start + along * length,
                    angle + turn,
                    length * shorter,
                    width * 0.7,
                    weight * 0.6,
                    level + 1,
                )

    grow(torch.zeros(2, dtype=torch.float64), math.pi / 2, 1.0, 0.03, 1.0, 0)
    mu, sigma, pi = (
        torch.stack(means),
        torch.stack(covariances),
        torch.tensor(weights, dtype=torch.float64),
    )
    pi = pi / pi.sum()
    centre = pi @ mu
    spread = (
        pi @ ((mu - centre) ** 2).sum(1) + (pi * sigma.diagonal(dim1=1, dim2=2).sum(1)).sum()
    ) / 2
    scale = 0.5 / spread.sqrt()
    return ExactMixture((mu - centre) * scale, sigma * scale**2, pi)
