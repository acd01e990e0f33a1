"""Solvers compared with the schedulers of diffusers, on the same noise and noise levels."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from degradations import Draws, epsilon
from study.models import ExactGaussian
from study.sampling import solver_of

diffusers = pytest.importorskip("diffusers")

BASE, STEPS = ExactGaussian(0.5), 12
TRAINED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


class Replayed(Draws):
    """Draws that give prepared noise, one tensor after the other."""

    def __init__(self, noise: list[Tensor]) -> None:
        super().__init__(0)
        self.noise = iter(noise)

    def normal(self, stream: str, like: Tensor) -> Tensor:
        return next(self.noise)


def levels(scheduler: Any) -> list[float]:
    """σ = √((1 − ᾱ)/ᾱ) at the scheduler's time steps, and 0."""
    kept = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    return [*((1 - kept) / kept).sqrt().tolist(), 0.0]


def ours(solver: str, sigmas: list[float], x: Tensor, noise: list[Tensor]) -> Tensor:
    draws = Replayed(noise)
    for sigma, sigma_next in pairwise(sigmas):
        x = solver_of(solver).step(BASE, x, sigma, sigma_next, draws)
    return x


def theirs(
    scheduler: Any, sigmas: list[float], x: Tensor, noise: list[Tensor], **more: Any
) -> Tensor:
    """The scheduler's steps in its own variables, x_t = √ᾱ·x, from the exact noise estimates."""
    x = x / (1 + sigmas[0] ** 2) ** 0.5
    for step, t in enumerate(scheduler.timesteps):
        scale = (1 + sigmas[step] ** 2) ** 0.5
        estimate = epsilon(BASE(scale * x, sigmas[step]), scale * x, sigmas[step])
        given = {"variance_noise": noise[step]} if more.get("eta") else {}
        x = scheduler.step(estimate, t, x, **more, **given).prev_sample
    return x


def start(sigma: float) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = sigma * torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return x, [torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(STEPS)]


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(eta: float) -> None:
    scheduler = diffusers.DDIMScheduler(**TRAINED, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(STEPS)
    sigmas = levels(scheduler)
    x, noise = start(sigmas[0])
    found = ours(f"ddim(eta={eta})", sigmas, x, noise)
    expected = theirs(scheduler, sigmas, x, noise, eta=eta)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_ddpm() -> None:
    scheduler = diffusers.DDPMScheduler(**TRAINED, clip_sample=False, variance_type="fixed_small")
    scheduler.set_timesteps(STEPS)
    sigmas = levels(scheduler)
    x, _ = start(sigmas[0])
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    noise = [torch.randn(5, 3, generator=first, dtype=torch.float64) for _ in range(STEPS)]
    found = ours("ddpm", sigmas, x, noise)
    expected = theirs(scheduler, sigmas, x, noise, generator=second)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_dpm_solver() -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **TRAINED, algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint"
    )
    scheduler.set_timesteps(STEPS)
    sigmas = scheduler.sigmas.double().tolist()
    x, noise = start(sigmas[0])
    found = ours("dpmpp-2m", sigmas, x, [])
    torch.testing.assert_close(found, theirs(scheduler, sigmas, x, noise), rtol=1e-4, atol=1e-4)
