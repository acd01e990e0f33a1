"""What several tests need: small denoisers and the linear recursion of the exact Gaussian case."""

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch

from study.checkpoints import Base
from study.evaluation.evaluator import Evaluator
from study.evaluation.parts import load_parts
from study.models import (
    EDM,
    Network,
    NetworkClassifier,
    PatchTransformer,
    Preconditioned,
    ResidualMLP,
)
from study.models.by_class import network_of_class
from study.sampling import edm_sigmas
from study.specs import StudySpec


def small_network(dim: int = 16, classes: int = 3, seed: int = 0) -> EDM:
    """A random denoiser with dropout sites whose output layers are not zero."""
    return _shaken(
        lambda: ResidualMLP(dim, classes, width=16, hidden=24, blocks=2, embedding=8), seed
    )


def small_transformer(classes: int = 3, seed: int = 0) -> EDM:
    """A random denoiser of images [B, 1, 4, 4] with every kind of site, whose output layers are not
    zero."""
    return _shaken(
        lambda: PatchTransformer(
            (1, 4, 4), classes, width=16, hidden=24, blocks=2, embedding=8, heads=2, patch=1
        ),
        seed,
    )


def small_unet(seed: int = 0) -> Preconditioned:
    """A random convolutional denoiser of images [B, 1, 4, 4] with three classes."""
    arguments = {"img_resolution": 4, "img_channels": 1, "label_dim": 3, "channel_mult": [1]}
    arguments |= {"model_type": "SongUNet", "model_channels": 8, "num_blocks": 1, "dropout": 0.0}
    denoiser = network_of_class("EDMPrecond", {**arguments, "attn_resolutions": []})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in denoiser.requires_grad_(False).parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter) + (parameter.ndim == 1))
    return denoiser.eval()


def _shaken(make: Callable[[], Network], seed: int) -> EDM:
    denoiser = _random(make, seed)
    denoiser.classifier = lambda: small_classifier(seed)
    return denoiser


def _random(make: Callable[[], Network], seed: int) -> EDM:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        denoiser = EDM(make(), 0.5)
        for parameter in denoiser.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return denoiser.eval().requires_grad_(False)


@cache
def small_classifier(seed: int = 0) -> NetworkClassifier:
    """A random classifier of noisy samples of 16 numbers and three classes."""
    inside = _random(lambda: ResidualMLP(16, 0, width=16, hidden=24, blocks=1, embedding=8), seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NetworkClassifier(inside, 16, 3).requires_grad_(False)


def guided_gaussian_std(
    std: float,
    a1: float,
    a0: float,
    w: float,
    steps: int,
    sigma_max: float,
    sigma_min: float = 0.002,
    coupling: str = "independent",
) -> float:
    """The standard deviation of Heun samples of the exact N(0, std²) under input noise a1 (main),
    a0 (guide), weight w.

    D_w(x; σ) = Kx + η is linear in x with Gaussian η, so a step maps variances linearly; nothing is
    sampled here.
    """

    def linear(sigma: float) -> tuple[float, float]:
        gain, noise = [], []
        for a in (a1, a0):
            k = std**2 / (std**2 + ((1 + a) * sigma) ** 2)
            gain.append(k)
            noise.append(k * math.sqrt((1 + a) ** 2 - 1) * sigma)
        parts = w * noise[0], (1 - w) * noise[1]
        variance = sum(parts) ** 2 if coupling == "shared" else parts[0] ** 2 + parts[1] ** 2
        return w * gain[0] + (1 - w) * gain[1], variance

    sigmas = edm_sigmas(steps, sigma_min, sigma_max).tolist()
    variance = sigmas[0] ** 2
    for s, t in pairwise(sigmas):
        k, v = linear(s)
        if t == 0:
            variance = k**2 * variance + v
            continue
        k_next, v_next = linear(t)
        h = t - s
        euler = 1 + h * (1 - k) / s
        of_x = 1 + h / 2 * ((1 - k) / s + (1 - k_next) * euler / t)
        of_first = -h / 2 * (1 / s + (1 - k_next) * h / (s * t))
        of_second = -h / (2 * t)
        variance = of_x**2 * variance + of_first**2 * v + of_second**2 * v_next
    return math.sqrt(variance)


def evaluator_for(
    spec: StudySpec,
    base: Base,
    variant: Callable[[str], Base] | None = None,
    root: Path = Path("mlruns"),
) -> Evaluator:
    """An evaluator of a base that is at hand, with the parts that a spec names."""
    return Evaluator(spec, base, load_parts(spec, base, root), variant)
