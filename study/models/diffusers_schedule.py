"""Discrete variance-preserving schedules: their noise levels, and their networks as denoisers in σ."""

import math

import torch
from torch import Tensor

from degradations import Refused
from study.models.diffusers_files import Config
from study.models.preconditioning import Network, Preconditioned, Scalings

PREDICTIONS = ("epsilon", "sample", "v_prediction")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")

# Those whose settings mean a schedule of this kind. How they sample, with clipping or not, is not read.
SCHEDULERS = (
    "DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler", "PNDMScheduler",
    "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler",
    "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler",
)  # fmt: skip


class DiscreteSchedule(Preconditioned):
    """A network trained on √ᾱ_t·y + √(1 − ᾱ_t)·n = √ᾱ_t·x at timesteps t = 0…T − 1, with σ_t² = (1 − ᾱ_t)/ᾱ_t.

    c_in = 1/√(1 + σ²) = √ᾱ; c_noise is the t of σ_t = σ, interpolated in ln σ, exactly t at a σ_t, and the first or the
    last t for σ outside the table; what the network predicts gives the rest:

    epsilon: n. D = x − σ·F, so c_skip = 1, c_out = −σ.
    v_prediction: √ᾱ·n − √(1 − ᾱ)·y. c_skip = 1/(1 + σ²), c_out = −σ/√(1 + σ²).
    sample: y. c_skip = 0, c_out = 1.

    sigmas: [T] σ_t, rising, float64. (Ho et al. 2020, eq. 4; Song et al. 2021, DDIM, eq. 13; Salimans & Ho 2022, § 4)
    """

    sigmas: Tensor

    def __init__(self, network: Network, sigmas: Tensor, prediction: str) -> None:
        super().__init__(network)
        if prediction not in PREDICTIONS:
            raise Refused(f"prediction '{prediction}': accepted are {', '.join(PREDICTIONS)}.")
        self.prediction = prediction
        self.register_buffer("sigmas", sigmas)

    def scalings(self, sigma: Tensor) -> Scalings:
        one, total = torch.ones_like(sigma), 1 + sigma**2
        skip, out = {
            "epsilon": (one, -sigma),
            "v_prediction": (1 / total, -sigma / total.sqrt()),
            "sample": (0 * one, one),
        }[self.prediction]
        return Scalings(skip, out, 1 / total.sqrt(), self.timestep(sigma))

    def timestep(self, sigma: Tensor) -> Tensor:
        """The t of σ, of σ's shape and dtype."""
        # The table is rounded as σ was, so that the σ of a timestep is at that timestep in any precision.
        table = self.sigmas.to(sigma.dtype).double().log()
        wanted = sigma.double().log().clamp(table[0], table[-1])
        above = torch.searchsorted(table, wanted).clamp(1, len(table) - 1)
        low, high = table[above - 1], table[above]
        return (above - 1 + (wanted - low) / (high - low)).to(sigma.dtype)


def noise_levels(config: Config) -> Tensor:
    """σ_t = √((1 − ᾱ_t)/ᾱ_t), ᾱ_t = Π_{s ≤ t} (1 − β_s), of a scheduler's settings; [T] float64, rising.

    β: `trained_betas`; or `beta_schedule` linear, β from beta_start to beta_end; scaled_linear, √β so; or
    squaredcos_cap_v2, β_t = min(1 − f(t + 1)/f(t), 0.999), f(t) = cos²((t/T + 0.008)/1.008 · π/2).
    rescale_betas_zero_snr: √ᾱ shifted to 0 at T − 1 and scaled to what it was at 0; then the last timestep, where σ is
    infinite, is left out. Clipping, thresholding, spacing and all else on how to sample are not the schedule's.
    Raises Refused for other settings. (Nichol & Dhariwal 2021, eq. 17; Lin et al. 2024, algorithm 1)
    """
    config.choice("_class_name", SCHEDULERS)
    betas = _betas(config)
    if len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
        raise Refused(f"{config.path}: its betas are not two or more numbers between 0 and 1.")
    remaining = (1 - betas).log().cumsum(0).exp()  # ᾱ
    if config.entries.get("rescale_betas_zero_snr"):
        root = remaining.sqrt()
        remaining = (((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)[:-1]
    sigmas = ((1 - remaining) / remaining).sqrt()
    single = sigmas.float()  # what samplers of float32 tell apart
    if len(sigmas) < 2 or not (single[1:] > single[:-1]).all() or not single.isfinite().all():
        raise Refused(f"{config.path}: the noise levels of its betas do not rise from timestep to timestep.")
    return sigmas


def _betas(config: Config) -> Tensor:
    steps = config.whole("num_train_timesteps", least=2)
    given = config.entries.get("trained_betas")
    if given is not None:
        if not isinstance(given, list) or len(given) != steps or not all(type(beta) is float for beta in given):
            config.refuse("trained_betas", f"a list of num_train_timesteps = {steps} numbers")
        return torch.tensor(given, dtype=torch.float64)
    kind = config.choice("beta_schedule", BETAS)
    if kind == "squaredcos_cap_v2":
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        f = ((t + 0.008) / 1.008 * math.pi / 2).cos() ** 2
        return (1 - f[1:] / f[:-1]).clamp(max=0.999)
    power = 2 if kind == "scaled_linear" else 1
    start, end = (max(config.number(key), 0) ** (1 / power) for key in ("beta_start", "beta_end"))
    return torch.linspace(start, end, steps, dtype=torch.float64) ** power
