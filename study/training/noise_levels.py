"""The noise levels that a base is trained at."""

import math

import torch
from torch import Tensor

from study.specs import RecipeSpec

BETA_D, BETA_MIN, EPSILON_T = 19.9, 0.1, 1e-5  # of VP
OFFSET, LAST = 0.008, 0.999  # of the cosine


def noise_levels(recipe: RecipeSpec, n: int, generator: torch.Generator) -> Tensor:
    """The noise levels of a batch, [n], by `recipe.noise_levels`.

    lognormal: ln σ ~ N(P_mean, P_std²) (Karras et al. 2022, table 1). linear: σ² = exp(β_d·t²/2 +
    β_min·t) − 1 with t uniform, DDPM's linear schedule in continuous time (Song et al. 2021,
    appendix C). cosine: σ = tan(π/2·(t + s)/(1 + s)), s = 0.008 (Nichol & Dhariwal 2021, eq. 17).
    """
    if recipe.noise_levels == "lognormal":
        return (recipe.p_mean + recipe.p_std * torch.randn(n, generator=generator)).exp()
    t = torch.rand(n, generator=generator)
    if recipe.noise_levels == "linear":
        t = EPSILON_T + (1 - EPSILON_T) * t
        return (BETA_D / 2 * t**2 + BETA_MIN * t).expm1().sqrt()
    return (math.pi / 2 * (LAST * t + OFFSET) / (1 + OFFSET)).tan()
