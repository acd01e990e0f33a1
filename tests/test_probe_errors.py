"""Estimates of mean errors, and the points at which they are made, against closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from degradations import Denoiser, Draws, InputError, InputNoise, RunError, ScoreError
from degradations.condition import NONE, Condition
from study.evaluation.mean_errors import Products, along_trajectories, mean_errors, noised
from study.evaluation.trajectory_error import trajectory_error
from study.models import ExactGaussian
from study.records.damage import ERROR
from study.sampling import Fixed, edm_sigmas, sample_chunk, solvers
from study.specs import ProbeSpec
from tests.known_errors import SIGMAS, STD, Erring, gaussian, variance_of_product


def test_mean_errors_are_those_of_the_means() -> None:
    """Where the plug-in, the squared mean of the draws, is off by var/K an element: here by more
    than the errors."""
    images, dim, k, shifts, scales = 400, 10, 8, (0.1, 0.2), (1.0, 1.5)
    points = gaussian(images, dim)
    base = ExactGaussian(STD)
    denoisers = {name: Erring(base, b, c) for name, b, c in zip("mg", shifts, scales, strict=True)}
    found = mean_errors(base, denoisers, points, k).gram.sum(1)
    n = images * dim
    for i in range(2):
        for j in range(2):
            (bi, bj), (vi, vj) = (shifts[i], shifts[j]), (scales[i] ** 2, scales[j] ** 2)
            sd = math.sqrt(variance_of_product(n * bi * bj, n * bi**2, n * bj**2, vi, vj, n, k))
            assert found[:, i, j] == pytest.approx(n * bi * bj, abs=4 * sd)
            assert n * math.sqrt(vi * vj) / k > 10 * sd  # the plug-in's bias would not go unnoticed


def test_mean_errors_have_the_spread_that_their_draws_explain() -> None:
    """And no other: over 300 seeds their mean and variance are as calculated; sd of a variance:
    √(2/300)."""
    times, k, n = 300, 4, 20
    points, base = gaussian(4, 5, [1.0]), ExactGaussian(STD)
    pair = {"m": Erring(base, 0.5, 0.8), "g": Erring(base, -0.7, 1.2)}
    found = np.array(
        [
            mean_errors(base, pair, points, k, 1000 * seed).gram.sum((0, 1))[0, 1]
            for seed in range(times)
        ]
    )
    variance = variance_of_product(-0.35 * n, 0.25 * n, 0.49 * n, 0.64, 1.44, n, k)
    assert found.mean() == pytest.approx(-0.35 * n, abs=4 * math.sqrt(variance / times))
    # its tails are a bit heavier
    assert found.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / times) * 1.5)


def test_what_draws_nothing_is_evaluated_once_a_level() -> None:
    base = Erring(ExactGaussian(STD))
    fixed, random = Erring(ExactGaussian(STD), 0.1), Erring(ExactGaussian(STD), 0.1, 0.1)
    points = gaussian(3, 2)
    found = mean_errors(base, {"fixed": fixed, "random": random}, points, draws=7)
    assert (base.evaluated, fixed.evaluated, random.evaluated) == (3, 3, 21)
    assert found.gram[:, :, 0, 0] == pytest.approx(2 * 0.1**2)


def test_errors_that_are_not_finite_are_rejected_by_name() -> None:
    base = ExactGaussian(STD)
    with pytest.raises(InputError, match="the errors of bad are not finite"):
        mean_errors(
            base,
            {"good": Erring(base, 0.1), "bad": Erring(base, math.inf)},
            gaussian(2, 2),
            draws=2,
        )


def test_products_are_found_by_name_in_any_order() -> None:
    gram = np.random.default_rng(0).normal(size=(2, 3, 3, 3))
    found = Products(["a", "b", "c"], [2.0, 1.0], [1.0, 1.0], gram).of(["c", "a"])
    assert found.shape == (2, 3, 2, 2)
    assert np.array_equal(found[..., 0, 1], gram[..., 2, 0])
    assert np.array_equal(found[..., 1, 1], gram[..., 0, 0])


def test_noised_data_are_data_with_noise_of_every_level() -> None:
    clean = torch.zeros(4000, 3)
    points = noised(clean + 2, None, SIGMAS, seed=0)
    for sigma, weight, x in zip(SIGMAS, points.weights, points.x, strict=True):
        assert weight == pytest.approx(1 / sigma**2)
        assert float(x.mean()) == pytest.approx(2, abs=4 * sigma / math.sqrt(12000))
        assert float(x.std()) == pytest.approx(sigma, rel=4 / math.sqrt(24000))
    assert not torch.equal(points.x[0] / SIGMAS[0], points.x[1] / SIGMAS[1])


class Recording(Denoiser):
    """Keeps what it is given to denoise, the first evaluation at each noise level."""

    def __init__(self, base: Denoiser) -> None:
        super().__init__()
        self.base = base
        self.seen: dict[float, Tensor] = {}

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        # of Heun's two evaluations at a level the later one begins the step
        self.seen[float(sigma)] = x
        return self.base(x, sigma, condition, draws)


@pytest.mark.parametrize("solver", solvers())
@pytest.mark.parametrize("levels", [2, 5, 12, 40])
def test_trajectories_are_the_solver_s_states(solver: str, levels: int) -> None:
    # random: it has to see the solver's draws
    base, source = InputNoise(0.3)(ExactGaussian(STD)), Fixed((16, 3), 16)
    sigmas = edm_sigmas(12, 0.01, 20.0).tolist()
    points = along_trajectories(base, source.start(5, 0), sigmas, solver, levels)
    recording = Recording(base)
    samples = sample_chunk(recording, source.start(5, 0), sigmas, solver)
    assert len(points.sigmas) == min(levels, 12)
    assert (points.sigmas[0], points.sigmas[-1]) == (sigmas[0], sigmas[11])
    for x, sigma in zip(points.x, points.sigmas, strict=True):
        assert torch.equal(x, recording.seen[sigma])
    draws = source.start(5, 0).draws
    for _ in range(solvers()[solver].nfe(12) - 1):
        draws.normal("noise", samples)
    last = solvers()[solver].step(
        lambda x, sigma: base(x, sigma, None, draws), points.x[-1], points.sigmas[-1], 0.0, draws
    )
    assert torch.equal(last, samples)


def test_along_trajectories_levels_weigh_by_displacement() -> None:
    """(ln σᵢ/σᵢ₊₁)²: on a geometric grid all the same, and the last, which has no next one, as the
    one before."""
    start, base = Fixed((2, 2), 2).start(0, 0), ExactGaussian(STD)
    sigmas = [float(2.0**-i) for i in range(9)]
    assert along_trajectories(base, start, [*sigmas, 0.0], "euler", 9).weights == pytest.approx(
        [math.log(2) ** 2] * 9
    )
    some = along_trajectories(base, start, [*sigmas, 0.0], "euler", 3)
    assert some.sigmas == [sigmas[0], sigmas[4], sigmas[8]]
    assert some.weights == pytest.approx([(4 * math.log(2)) ** 2] * 3)


class TestTrajectoryError:
    """The error of a score too large by a: e = −a·x·σ²/(s² + σ²), of x ~ N(0, s² + σ²)."""

    A, LOW, HIGH = 0.1, 0.1, 20.0

    def measured(self, levels: int, images: int = 400, draws: int = 2) -> float:
        base = ExactGaussian(STD)
        start = Fixed((images, 10), images, None).start(0, 0)
        sigmas = edm_sigmas(128, self.LOW, self.HIGH)
        spec = ProbeSpec(levels=levels, draws=draws)
        wrong = ScoreError(self.A)(base)
        return trajectory_error(base, wrong, start, sigmas, "heun", spec, 0).scores[ERROR]

    def test_it_is_the_integral_of_the_error_over_ln_sigma(self) -> None:
        """∫ a·σ/√(s² + σ²) dσ = a·(√(s² + σmax²) − √(s² + σmin²)), to first order in the step."""
        ends = (math.sqrt(STD**2 + sigma**2) for sigma in (self.HIGH, self.LOW))
        expected = self.A * (next(ends) - next(ends))
        errors = [self.measured(levels) / expected - 1 for levels in (16, 32, 64)]
        sd = 1 / math.sqrt(2 * 400 * 10)
        for rough, fine in pairwise(errors):
            assert fine == pytest.approx(rough / 2, abs=0.1 * rough + 4 * sd)

    def test_it_does_not_grow_with_the_noise_of_a_denoiser(self) -> None:
        """The mean over draws counts: an unbiased estimate, not the plug-in's √(e² + var/K)."""
        base, start = ExactGaussian(STD), Fixed((400, 10), 400, None).start(0, 0)
        sigmas = edm_sigmas(16, self.LOW, self.HIGH)
        found = [
            trajectory_error(
                base, Erring(base, 0.2, noise), start, sigmas, "euler", ProbeSpec(levels=8), 0
            ).scores[ERROR]
            for noise in (0.0, 0.5)
        ]
        assert found[1] == pytest.approx(found[0], rel=0.02)

    def test_errors_that_are_not_finite_fail(self) -> None:
        base, start = ExactGaussian(STD), Fixed((4, 2), 4, None).start(0, 0)
        sigmas = edm_sigmas(8, self.LOW, self.HIGH)
        wrong = Erring(base, math.inf)
        with pytest.raises(RunError, match="the errors of denoiser are not finite"):
            trajectory_error(base, wrong, start, sigmas, "heun", ProbeSpec(), 0)
