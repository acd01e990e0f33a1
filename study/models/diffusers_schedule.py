"""Discrete variance-preserving schedules: their noise levels, and their networks as denoisers."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from degradations import InputError
from study.models.diffusers_files import Config
from study.models.preconditioning import Limit, Network, Preconditioned, Scalings
from study.models.predictions import Epsilon, Prediction, Sample, Velocity

PREDICTIONS: Mapping[str, type[Prediction]] = {
    "epsilon": Epsilon,
    "sample": Sample,
    "v_prediction": Velocity,
}
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")
MORE_BETAS: Mapping[str, tuple[str, ...]] = {  # of particular schedulers
    "DDPMScheduler": ("sigmoid", "laplace"),
    "DDPMParallelScheduler": ("sigmoid", "laplace"),
    "HeunDiscreteScheduler": ("exp",),
}
MOST_BETA = 0.999

# The schedulers whose settings define a schedule of this kind.
SCHEDULERS = (
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DPMSolverSDEScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
)


class DiscreteSchedule(Preconditioned):
    """A network trained on √ᾱ_t·y + √(1 − ᾱ_t)·n = √ᾱ_t·x at timesteps t, as a denoiser in σ.

    t = 0…T − 1, σ_t² = (1 − ᾱ_t)/ᾱ_t. c_in = 1/√(1 + σ²) = √ᾱ; c_noise is the t of σ_t = σ,
    interpolated in ln σ, exactly t at σ_t, and the first or the last t for σ outside the table. The
    rest depends on what the network predicts:

        epsilon: n                           c_skip = 1,           c_out = −σ   (D = x − σ·F)
        v_prediction: √ᾱ·n − √(1 − ᾱ)·y      c_skip = 1/(1 + σ²),  c_out = −σ/√(1 + σ²)
        sample: y                            c_skip = 0,           c_out = 1

    sigmas: [T] σ_t, rising, float64; limit: clipping or thresholding of D by the scheduler. (Ho et
    al. 2020, eq. 4; Song et al. 2021, DDIM, eq. 13; Salimans & Ho 2022, § 4)
    """

    sigmas: Tensor

    def __init__(
        self, network: Network, sigmas: Tensor, prediction: str, limit: Limit | None = None
    ) -> None:
        super().__init__(network, limit=limit)
        if prediction not in PREDICTIONS:
            raise InputError(
                f"prediction: found '{prediction}'; accepted: {', '.join(PREDICTIONS)}."
            )
        self.prediction = prediction
        self.register_buffer("sigmas", sigmas)

    def scalings(self, sigma: Tensor) -> Scalings:
        outer = PREDICTIONS[self.prediction].outer(sigma)
        return Scalings(*outer, 1 / (1 + sigma**2).sqrt(), self.timestep(sigma))

    def timestep(self, sigma: Tensor) -> Tensor:
        """The t of σ, of σ's shape and dtype."""
        # The table is rounded as σ was, so that σ_t maps to t in any precision.
        table = self.sigmas.to(sigma.dtype).double().log()
        wanted = sigma.double().log().clamp(table[0], table[-1])
        above = torch.searchsorted(table, wanted).clamp(1, len(table) - 1)
        low, high = table[above - 1], table[above]
        return (above - 1 + (wanted - low) / (high - low)).to(sigma.dtype)


def noise_levels(config: Config) -> Tensor:
    """σ_t = √((1 − ᾱ_t)/ᾱ_t), ᾱ_t = Π_{s ≤ t} (1 − β_s), of a scheduler's settings, [T], rising.

    float64. β: `trained_betas`, or by `beta_schedule`: linear, β from beta_start to beta_end;
    scaled_linear, √β likewise; sigmoid, β_t = beta_start + (beta_end − beta_start)/(1 + e^−z), z
    from −6 to 6; or β_t = min(1 − f((t + 1)/T)/f(t/T), 0.999), squaredcos_cap_v2 with f(u) =
    cos²((u + 0.008)/1.008·π/2), exp with f(u) = e^−12u, laplace with f(u) = √(r/(1 + r)), ln r =
    ½·sgn(u − ½)·ln(1 − 2|u − ½| + 10⁻⁶); sigmoid and laplace for DDPM schedulers only, exp for the
    Heun scheduler only. rescale_betas_zero_snr: √ᾱ is shifted to 0 at T − 1 and rescaled to its
    value at 0; the last timestep, where σ is infinite, is then left out. Settings of sampling, such
    as spacing, are not part of the schedule. Raises InputError if the settings are not supported.
    (Nichol & Dhariwal 2021, eq. 17; Hang et al. 2024; Lin et al. 2024, algorithm 1; diffusers'
    schedulers)
    """
    config.choice("_class_name", SCHEDULERS)
    betas = _betas(config)
    if len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
        raise InputError(
            f"{config.path}: its betas are invalid; accepted: two or more between 0 and 1."
        )
    remaining = (1 - betas).log().cumsum(0).exp()  # ᾱ
    if config.entries.get("rescale_betas_zero_snr"):
        root = remaining.sqrt()
        remaining = (((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)[:-1]
    sigmas = ((1 - remaining) / remaining).sqrt()
    single = sigmas.float()  # samplers in float32 must distinguish them
    if len(sigmas) < 2 or not (single[1:] > single[:-1]).all() or not single.isfinite().all():
        raise InputError(
            f"{config.path}: the noise levels of its betas do not rise from timestep to timestep."
        )
    return sigmas


def _betas(config: Config) -> Tensor:
    steps = config.whole("num_train_timesteps", least=2)
    given = config.entries.get("trained_betas")
    if given is not None:
        if (
            not isinstance(given, list)
            or len(given) != steps
            or not all(type(beta) is float for beta in given)
        ):
            config.reject("trained_betas", f"a list of num_train_timesteps = {steps} numbers")
        return torch.tensor(given, dtype=torch.float64)
    kind = config.choice(
        "beta_schedule", (*BETAS, *MORE_BETAS.get(config.entries["_class_name"], ()))
    )
    if kind in _REMAINING:
        return betas_of(kind, steps)
    start, end = (max(config.number(key), 0) for key in ("beta_start", "beta_end"))
    return betas_of(kind, steps, start, end)


def betas_of(kind: str, steps: int, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """β_t of a schedule by its name in diffusers, [T], float64; see `noise_levels`."""
    if kind in _REMAINING:
        f = _REMAINING[kind](torch.arange(steps + 1, dtype=torch.float64) / steps)
        return (1 - f[1:] / f[:-1]).clamp(max=MOST_BETA)
    if kind == "sigmoid":
        return start + (end - start) * torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid()
    power = 2 if kind == "scaled_linear" else 1
    return (
        torch.linspace(start ** (1 / power), end ** (1 / power), steps, dtype=torch.float64)
        ** power
    )


def _cosine(u: Tensor) -> Tensor:
    return ((u + 0.008) / 1.008 * math.pi / 2).cos() ** 2


def _exponential(u: Tensor) -> Tensor:
    return (-12 * u).exp()


def _laplace(u: Tensor) -> Tensor:
    # At u = ½ the sign counts as −1.
    log_snr = torch.where(u > 0.5, 0.5, -0.5) * (1 - 2 * (u - 0.5).abs() + 1e-6).log()
    return log_snr.sigmoid().sqrt()


# ᾱ as a function of the time u = t/T in [0, 1], for the schedules that it defines.
_REMAINING: Mapping[str, Callable[[Tensor], Tensor]] = {
    "squaredcos_cap_v2": _cosine,
    "exp": _exponential,
    "laplace": _laplace,
}
