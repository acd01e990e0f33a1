"""The sampling loop, from noise to samples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from degradations import Denoiser, InputError
from study.sampling.grids.edm import edm_sigmas
from study.sampling.solver import solver_of
from study.sampling.sources import Fixed, Start

OnSamples = Callable[[int], Any]  # receives the number of newly finished samples


@dataclass(frozen=True)
class Churn:
    """Fresh noise before steps with σ in [low, high]: x̂ = x + √(σ̂² − σ²)·noise·n, n ~ N(0, I).

    σ̂ = σ(1 + γ), γ = min(amount/N, √2 − 1), rounded to a level that the denoiser was made for.
    amount 0: no noise, the deterministic sampler. (Karras et al. 2022, algorithm 2: S_churn,
    S_tmin, S_tmax, S_noise)
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = math.inf
    noise: float = 1.0

    def __post_init__(self) -> None:
        if not (
            0 <= self.amount < math.inf
            and 0 <= self.low <= self.high
            and 0 <= self.noise < math.inf
        ):
            raise InputError(
                f"churn: found {self}; accepted: amount ≥ 0, 0 ≤ low ≤ high and noise ≥ 0."
            )


@torch.inference_mode()
def sample_chunk(
    denoiser: Denoiser,
    start: Start,
    sigmas: Sequence[float],
    solver: str = "heun",
    churn: Churn | None = None,
) -> Tensor:
    """Solve from σ₀ to σ_N = 0 for one chunk: x of the shape of its noise.

    sigmas: [N + 1], falling to 0. Raises InputError if the solver is unknown.
    """
    step, (noise, condition, draws) = solver_of(solver).step, start
    gamma = min(churn.amount / (len(sigmas) - 1), math.sqrt(2) - 1) if churn else 0.0
    levels = denoiser.levels()

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return denoiser(x, sigma, condition, draws)

    x = noise * sigmas[0]
    for number, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if churn and gamma > 0 and churn.low <= sigma <= churn.high:
            # never below σ, which need not be in the denoiser's table
            raised = max(levels.nearest(sigma * (1 + gamma)), sigma)
            x = x + math.sqrt(raised**2 - sigma**2) * churn.noise * draws.normal("churn", x)
            sigma = raised
        draws.trajectory.at(number, sigma, sigma_next)
        x = step(denoise, x, sigma, sigma_next, draws)
    return x


def sample(
    denoiser: Denoiser,
    shape: Sequence[int],
    *,
    solver: str = "heun",
    steps: int = 32,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    seed: int = 0,
    labels: Tensor | None = None,
    churn: Churn | None = None,
    chunk: int = 1024,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Samples of a denoiser, x of `shape` = [n, …], solved on the EDM grid of σ.

    The grid stays within the noise levels that the denoiser was made for (`edm_sigmas`). labels:
    [n] class indices or None; chunk: samples computed together, part of what determines the random
    numbers. Raises InputError if the shape, grid, solver or labels are invalid.
    """
    sigmas = edm_sigmas(steps, sigma_min, sigma_max, rho, denoiser.levels()).tolist()
    source = Fixed(shape, chunk, labels, device)
    starts = (source.start(seed, index, dtype) for index in range(len(source)))
    return torch.cat([sample_chunk(denoiser, start, sigmas, solver, churn) for start in starts])
