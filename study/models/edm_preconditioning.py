"""The preconditionings of earlier diffusion models, in the form given by EDM.

Each declares the noise levels of its training (table 1, "Time steps"), within which EDM samples it.
"""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from degradations import Levels
from study.models.preconditioning import Network, Preconditioned, Scalings


class VP(Preconditioned):
    """c_skip = 1, c_out = −σ, c_in = 1/√(σ² + 1), c_noise = (M − 1)·σ⁻¹(σ): the VP ODE.

    σ⁻¹(σ) = (√(β_min² + 2·β_d·ln(1 + σ²)) − β_min)/β_d is the time of a noise level, variance
    preserving; steps: M. Made for σ(t) = √(exp(β_d·t²/2 + β_min·t) − 1), t from epsilon_t to 1.
    Raises InputError if these are not noise levels. (Karras et al. 2022, table 1, column VP)
    """

    name: ClassVar[str | None] = "vp"
    gives_time: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        beta_d: float = 19.9,
        beta_min: float = 0.1,
        steps: int = 1000,
        epsilon_t: float = 1e-5,
    ) -> None:
        times = torch.tensor([epsilon_t, 1.0], dtype=torch.float64, device="cpu")
        super().__init__(
            network, Levels(*(beta_d / 2 * times**2 + beta_min * times).expm1().sqrt().tolist())
        )
        self.beta_d, self.beta_min, self.steps = beta_d, beta_min, steps

    @classmethod
    def of(cls, network: Network, sigma_data: float) -> Self:
        return cls(network)

    def scalings(self, sigma: Tensor) -> Scalings:
        time = (
            (self.beta_min**2 + 2 * self.beta_d * (sigma**2).log1p()).sqrt() - self.beta_min
        ) / self.beta_d
        return Scalings(
            torch.ones_like(sigma), -sigma, 1 / (sigma**2 + 1).sqrt(), (self.steps - 1) * time
        )


class VE(Preconditioned):
    """c_skip = 1, c_out = σ, c_in = 1, c_noise = ln(σ/2), the variance-exploding ODE.

    Made for σ from sigma_min to sigma_max. Raises InputError if the range is empty. (table 1,
    column VE)
    """

    name: ClassVar[str | None] = "ve"

    def __init__(self, network: Network, sigma_min: float = 0.02, sigma_max: float = 100.0) -> None:
        super().__init__(network, Levels(sigma_min, sigma_max))

    @classmethod
    def of(cls, network: Network, sigma_data: float) -> Self:
        return cls(network)

    def scalings(self, sigma: Tensor) -> Scalings:
        one = torch.ones_like(sigma)
        return Scalings(one, sigma, one, (sigma / 2).log())


class IDDPM(Preconditioned):
    """c_skip = 1, c_out = −σ, c_in = 1/√(σ² + 1), c_noise = M − 1 − argmin_j |u_j − σ|.

    The improved DDPM. u_M = 0, u_{j−1} = √((u_j² + 1)/max(ᾱ_{j−1}/ᾱ_j, C₁) − 1), ᾱ_j =
    sin²(π/2·j/(M·(C₂ + 1))) are the noise levels of its training; it was made for u_0 … u_{M−1}.
    For any other σ only c_noise is rounded to them; the other scalings use σ itself. steps: M. The
    buffer `u`, [M + 1], is published with the weights. Raises InputError if the levels do not fall.
    (Karras et al. 2022, table 1, column iDDPM + DDIM)
    """

    u: Tensor

    name: ClassVar[str | None] = "iddpm"
    gives_time: ClassVar[bool] = True

    def __init__(
        self, network: Network, c1: float = 0.001, c2: float = 0.008, steps: int = 1000
    ) -> None:
        j = torch.arange(steps + 1, dtype=torch.float64, device="cpu")
        alpha_bar = (math.pi / 2 * j / (steps * (c2 + 1))).sin() ** 2
        # u_j² + 1 is the product of 1/max(…) over all later steps.
        ratios = (alpha_bar[:-1] / alpha_bar[1:]).clamp(min=c1)
        u = torch.cat(
            [((1 / ratios.flip(0)).cumprod(0).flip(0) - 1).sqrt(), torch.zeros(1, device="cpu")]
        ).float()
        super().__init__(network, Levels(float(u[-2]), float(u[0]), tuple(u[:-1].tolist())))
        self.steps = steps
        self.register_buffer("u", u)

    @classmethod
    def of(cls, network: Network, sigma_data: float) -> Self:
        return cls(network)

    def scalings(self, sigma: Tensor) -> Scalings:
        nearest = (self.u - sigma.reshape(-1, 1)).abs().argmin(dim=1).reshape(sigma.shape)
        c_noise = (self.steps - 1 - nearest).to(sigma.dtype)
        return Scalings(torch.ones_like(sigma), -sigma, 1 / (sigma**2 + 1).sqrt(), c_noise)
