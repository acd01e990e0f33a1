"""Preconditioning: how a raw network becomes a denoiser."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from degradations import Denoiser, Draws
from degradations.denoiser import column


class Network(nn.Module, ABC):
    """A raw network F(x, c_noise, label, draws) → [B, …] of the shape of x; c_noise: [B] or [1]."""

    @abstractmethod
    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, draws: Draws | None) -> Tensor:
        raise NotImplementedError


class EDM(Denoiser):
    """D(x; σ) = c_skip·x + c_out·F(c_in·x; c_noise) (Karras et al. 2022, eq. 7 and table 1, column EDM).

    c_skip = σd²/(σ² + σd²), c_out = σσd/√(σ² + σd²), c_in = 1/√(σ² + σd²), c_noise = ln(σ)/4;
    σd, the standard deviation of the data, in the units of x.
    """

    def __init__(self, network: Network, sigma_data: float) -> None:
        super().__init__()
        self.network, self.sigma_data = network, sigma_data

    def forward(
        self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None, draws: Draws | None = None
    ) -> Tensor:
        s, sd = column(sigma, x), self.sigma_data
        total = s**2 + sd**2
        c_skip, c_out, c_in, c_noise = sd**2 / total, s * sd / total.sqrt(), 1 / total.sqrt(), s.log() / 4
        return c_skip * x + c_out * self.network(c_in * x, c_noise.flatten(), label, draws)
