"""The preconditionings VP, VE and iDDPM, against their formulas."""

import math

import pytest
import torch
from torch import Tensor

from degradations import Draws
from degradations.condition import Condition
from study.models.by_class import network_of_class
from study.models.edm_preconditioning import IDDPM, VE, VP
from study.models.preconditioning import Network, Preconditioned
from tests.published_networks import TINY, levels

SIGMAS = [0.002, 0.07, 0.5, 3.0, 80.0]


class Third(Network):
    """F(x) = x/3 + c_noise, which keeps what it was given."""

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        self.given = x, c_noise
        return x / 3 + c_noise[:, None]


class TestPreconditionings:
    def compare(
        self, denoiser: Preconditioned, sigma: float, wanted: tuple[float, float, float, float]
    ) -> None:
        """The scalings, and D, against c_skip, c_out, c_in and c_noise."""
        found = denoiser.scalings(torch.tensor([[sigma]], dtype=torch.float64))
        assert [float(c) for c in found] == pytest.approx(wanted, rel=1e-9)
        assert all(c.shape == (1, 1) and c.dtype == torch.float64 for c in found)
        x = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
        c_skip, c_out, c_in, c_noise = wanted
        out = denoiser(x, sigma)
        assert isinstance(denoiser.network, Third)
        torch.testing.assert_close(denoiser.network.given[0], c_in * x)
        torch.testing.assert_close(out, c_skip * x + c_out * (c_in * x / 3 + c_noise))

    @pytest.mark.parametrize("sigma", SIGMAS)
    @pytest.mark.parametrize(("beta_d", "beta_min", "steps"), [(19.9, 0.1, 1000), (7.0, 0.5, 50)])
    def test_vp(self, sigma: float, beta_d: float, beta_min: float, steps: int) -> None:
        """The time of a noise level is where σ(t)² = exp(β_d t²/2 + β_min t) − 1, found by
        halving."""
        low, high = 0.0, 10.0
        for _ in range(200):
            t = (low + high) / 2
            low, high = (
                (t, high) if math.expm1(beta_d * t**2 / 2 + beta_min * t) < sigma**2 else (low, t)
            )
        wanted = 1.0, -sigma, (sigma**2 + 1) ** -0.5, (steps - 1) * t
        self.compare(VP(Third(), beta_d, beta_min, steps), sigma, wanted)

    @pytest.mark.parametrize("sigma", SIGMAS)
    def test_ve(self, sigma: float) -> None:
        self.compare(VE(Third()), sigma, (1.0, sigma, 1.0, math.log(sigma / 2)))

    @pytest.mark.parametrize("sigma", [*SIGMAS, 1e6])
    @pytest.mark.parametrize(("c1", "c2", "steps"), [(0.001, 0.008, 1000), (0.2, 0.05, 40)])
    def test_iddpm(self, sigma: float, c1: float, c2: float, steps: int) -> None:
        """Only c_noise is rounded to a level of the training."""
        u = levels(c1, c2, steps)
        nearest = min(range(steps + 1), key=lambda j: abs(u[j] - sigma))
        wanted = 1.0, -sigma, (sigma**2 + 1) ** -0.5, float(steps - 1 - nearest)
        self.compare(IDDPM(Third(), c1, c2, steps), sigma, wanted)

    def test_the_levels_of_iddpm(self) -> None:
        denoiser = IDDPM(Third())
        assert denoiser.u.tolist() == pytest.approx(levels(0.001, 0.008, 1000), rel=1e-6)
        assert list(denoiser.state_dict()) == ["u"]
        assert denoiser.u.dtype == torch.float32
        at = denoiser.u[:-1].reshape(-1, 1)
        assert denoiser.scalings(at).c_noise.flatten().tolist() == list(range(999, -1, -1))

    def test_a_sigma_for_every_sample(self) -> None:
        """As for each by itself, in float32 and of images."""
        x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        for class_name in ("VPPrecond", "VEPrecond", "iDDPMPrecond"):
            denoiser = network_of_class(class_name, TINY)
            out = denoiser(x, torch.tensor([0.1, 1.0, 30.0]))
            assert out.shape == x.shape
            torch.testing.assert_close(out[1:2], denoiser(x[1:2], 1.0), rtol=1e-4, atol=1e-5)
