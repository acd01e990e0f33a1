"""Rules along trajectories: what they remember, where they idle, and what they are exactly."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from degradations import Denoiser, Draws, Guided, InputError, InputNoise, Pair, epsilon, parse_rule
from degradations.guidance import views
from degradations.projection import along
from study.models import ExactGaussian, ExactMixture
from study.sampling import edm_sigmas, sample, solver_of
from tests.helpers import small_network

GRID = {"steps": 12, "sigma_min": 0.02, "sigma_max": 20.0}
Step = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]  # of x, D1, D0, σ, σ'


def mixture() -> ExactMixture:
    """Two overlapping classes of two components each in the plane."""
    means = torch.tensor([[1.0, 0.0], [0.6, 0.9], [-1.0, 0.2], [-0.4, -0.8]]).double()
    spread = torch.tensor([[0.10, 0.04], [0.04, 0.07]]).double()
    covariances = torch.stack([spread * s for s in (1.0, 0.5, 1.4, 0.8)])
    classes = torch.tensor([0, 0, 1, 1])
    return ExactMixture(means, covariances, torch.tensor([1.0, 2.0, 1.5, 0.5]).double(), classes)


def by_hand(main: Denoiser, guide: Denoiser, step: Step) -> Tensor:
    """Samples of a method that is written as a step of its own, from the noise of seed 0."""
    sigmas = edm_sigmas(GRID["steps"], GRID["sigma_min"], GRID["sigma_max"]).tolist()  # type: ignore[arg-type]
    x = Draws(0).normal("initial noise", torch.empty(8, 2, dtype=torch.float64)) * sigmas[0]
    for sigma, sigma_next in pairwise(sigmas):
        x = step(x, main(x, sigma), guide(x, sigma), sigma, sigma_next)
    return x


def euler(d: Tensor, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    return x + (sigma_next - sigma) * (x - d) / sigma


def sampled(rule: str, weight: float, solver: str = "euler", n: int = 8, chunk: int = 8) -> Tensor:
    guided = Guided(ExactGaussian(0.5), ExactGaussian(0.9), weight, rule=rule)
    return sample(guided, (n, 2), solver=solver, chunk=chunk, dtype=torch.float64, **GRID)


MAIN, GUIDE = ExactGaussian(0.5), ExactGaussian(0.9)


def test_momentum_runs_along_a_trajectory_and_begins_anew_with_the_next() -> None:
    last = torch.zeros(8, 2, dtype=torch.float64)

    def step(x: Tensor, d1: Tensor, d0: Tensor, sigma: float, sigma_next: float) -> Tensor:
        nonlocal last
        last = d1 - d0 - 0.5 * last
        return euler(d1 + (last - along(last, d1)), x, sigma, sigma_next)

    expected = by_hand(MAIN, GUIDE, step)
    for _ in range(2):
        found = sampled("apg(momentum=-0.5)", 2.0)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    both = sampled("apg(momentum=-0.5)", 2.0, n=16)
    torch.testing.assert_close(both[:8], expected, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(both[8:], expected)


def test_momentum_is_of_a_denoiser_not_of_the_whole_trajectory() -> None:
    """Two guided denoisers in one trajectory, one the guide of the other, remember apart."""
    rule = "apg(momentum=-0.5)"
    inner = Guided(MAIN, GUIDE, 1.5, rule=rule)
    own, outer = Draws(0), Draws(0)
    nested = Guided(MAIN, inner, 2.0, rule=rule)
    x = torch.randn(4, 2, dtype=torch.float64)
    for sigma in (3.0, 1.0):
        d0, d1 = inner(x, sigma, None, own), MAIN(x, sigma)
        found = nested(x, sigma, None, outer)
    last = MAIN(x, 3.0) - Guided(MAIN, GUIDE, 1.5, rule=rule)(x, 3.0, None, Draws(0))
    delta = d1 - d0 - 0.5 * last
    torch.testing.assert_close(found, d1 + delta - along(delta, d1))


def test_feedback_follows_how_near_the_sample_came_to_either_estimate() -> None:
    pi, tau, delta, most = 0.9, 0.5, -0.3, 4.0
    log_p = torch.zeros(8, 1, dtype=torch.float64)
    factors = []

    def step(x: Tensor, d1: Tensor, d0: Tensor, sigma: float, sigma_next: float) -> Tensor:
        nonlocal log_p
        p = log_p.exp()
        factor = p / (p - (1 - pi))
        factors.append(factor)
        after = euler(d1 + (factor - 1) * (d1 - d0), x, sigma, sigma_next)
        if sigma_next:
            keep = sigma_next**2 / sigma**2
            errors = [
                ((after - keep * x - (1 - keep) * d) ** 2).sum(1, keepdim=True) for d in (d1, d0)
            ]
            variance = sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2
            log_p = log_p + delta - tau / (2 * variance) * (errors[0] - errors[1])
            log_p = log_p.clamp(min=math.log((1 - pi) * most / (most - 1)))
        return after

    expected = by_hand(MAIN, GUIDE, step)
    found = sampled(f"feedback({pi}, {tau}, {delta}, {most})", 2.0)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    spread = torch.cat(factors)
    assert float(spread.max()) == pytest.approx(most)  # reached, and not exceeded
    assert float(spread.min()) < 1.2


def test_tangential_amplifying_guidance_is_guidance_by_the_radial_part() -> None:
    def step(x: Tensor, d1: Tensor, d0: Tensor, sigma: float, sigma_next: float) -> Tensor:
        change = euler(d1, x, sigma, sigma_next) - x
        radial = along(change, x)
        return x + radial + 1.3 * (change - radial)

    base = mixture()
    found = sample(
        Pair(base, "none", "radial(1)").at(1.3), (8, 2), solver="euler", dtype=torch.float64, **GRID
    )  # type: ignore[arg-type]
    torch.testing.assert_close(found, by_hand(base, base, step), rtol=1e-9, atol=1e-9)


def test_cfg_pp_is_a_guided_estimate_noised_by_the_guide() -> None:
    def step(x: Tensor, d1: Tensor, d0: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return d0 + 0.6 * (d1 - d0) + sigma_next * epsilon(d0, x, sigma)

    expected = by_hand(MAIN, GUIDE, step)
    torch.testing.assert_close(sampled("cfg-pp", 0.6), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_cfg_zero_evaluates_nothing_in_its_first_steps(solver: str) -> None:
    """There x_t = x/(1 + σ) stays as it is."""
    calls = list[float]()

    class Counted(ExactGaussian):
        def forward(self, x, sigma, *rest):  # type: ignore[no-untyped-def]
            calls.append(float(sigma))
            return super().forward(x, sigma, *rest)

    guided = Guided(Counted(0.5), ExactGaussian(0.9), 2.0, rule="cfg-zero(steps=2)")
    found = sample(guided, (8, 2), solver=solver, dtype=torch.float64, **GRID)  # type: ignore[arg-type]
    sigmas = edm_sigmas(GRID["steps"], GRID["sigma_min"], GRID["sigma_max"]).tolist()  # type: ignore[arg-type]
    assert calls == [sigma for step, sigma in solver_of(solver).visits(sigmas) if step >= 2]

    def step(x: Tensor, d1: Tensor, d0: Tensor, sigma: float, sigma_next: float) -> Tensor:
        if sigma > sigmas[2]:
            return x * (1 + sigma_next) / (1 + sigma)
        u1, u0 = (views.flow_velocity(d, x, sigma) for d in (d1, d0))
        u = 2 * u1 - along(u1, u0)
        return euler((x - sigma * u) / (1 + sigma), x, sigma, sigma_next)

    if solver == "euler":
        torch.testing.assert_close(found, by_hand(MAIN, GUIDE, step), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", ["apg(momentum=-0.5)", "cfg-zero(steps=1)", "rescale(0.7)"])
def test_neither_chunks_nor_their_order_change_a_sample(rule: str) -> None:
    """A chunk is part of what determines the numbers; which were computed before it is not."""
    pair = Pair(small_network(2), InputNoise(0.1), InputNoise(0.3))
    guided = pair.at(2.0, rule)
    whole = sample(guided, (12, 2), chunk=4, solver="heun", **GRID)  # type: ignore[arg-type]
    first = sample(guided, (4, 2), chunk=4, solver="heun", **GRID)  # type: ignore[arg-type]
    assert torch.equal(whole[:4], first)
    assert torch.equal(sample(guided, (12, 2), chunk=4, solver="heun", **GRID), whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["apg(momentum=-0.5)", "cfg-zero", "cfg-pp"])
def test_a_rule_that_depends_on_the_trajectory_needs_draws(rule: str) -> None:
    guided = Guided(MAIN, GUIDE, 0.5, rule=rule)
    with pytest.raises(InputError, match=r"found no trajectory.*draws=Draws\(seed\)"):
        guided(torch.zeros(2, 2), 1.0)


def test_bands_must_cover_the_noise_levels() -> None:
    guided = Guided(MAIN, GUIDE, 2.0, rule="bands(0.1, 1, 2)")
    assert guided(torch.zeros(2, 2), 2.0).shape == (2, 2)
    with pytest.raises(
        InputError, match="found noise levels from 3 to 3; accepted: bands that cover"
    ):
        guided(torch.zeros(2, 2), 3.0)


@pytest.mark.parametrize("view", [views.X0, views.EPSILON, views.SCORE, views.VELOCITY, views.FLOW])
def test_a_view_is_affine_and_leads_back(view: views.View) -> None:
    x, a, b = torch.randn(3, 5, 4, dtype=torch.float64)
    for sigma in (0.03, 1.0, 40.0, torch.tensor([0.1, 0.5, 1.0, 3.0, 70.0])):
        torch.testing.assert_close(view.back(view.of(a, x, sigma), x, sigma), a)  # type: ignore[arg-type]
        mixed = 1.7 * view.of(a, x, sigma) - 0.7 * view.of(b, x, sigma)  # type: ignore[arg-type]
        torch.testing.assert_close(view.of(1.7 * a - 0.7 * b, x, sigma), mixed)  # type: ignore[arg-type]


def test_classifier_free_guidance_of_exact_denoisers_is_the_sharpened_density() -> None:
    """D = x + σ²∇[w·log p(x|c) + (1 − w)·log p(x)] = D(x; c) + (w − 1)σ²∇ log p(c|x)."""
    base, w = mixture(), 2.5
    label = torch.tensor([0, 1] * 20)
    for sigma in (0.05, 0.4, 3.0):
        x = torch.randn(40, 2, dtype=torch.float64).requires_grad_()
        given, free = (base.log_density(x, sigma, each) for each in (label, None))
        sharpened = torch.autograd.grad((w * given + (1 - w) * free).sum(), x, retain_graph=True)[0]
        classifier = torch.autograd.grad((given - free).sum(), x)[0]
        guided = Pair(base, "none", "label-drop(1)").at(w)
        found = guided(x, sigma, label, Draws(0)).detach()
        torch.testing.assert_close(found, (x + sigma**2 * sharpened).detach(), rtol=1e-5, atol=1e-5)
        by_classifier = base(x, sigma, label) + (w - 1) * sigma**2 * classifier
        torch.testing.assert_close(found, by_classifier.detach(), rtol=1e-5, atol=1e-5)


def test_equal_shares_of_every_frequency_are_the_constant_rule() -> None:
    d1, d0, x = torch.randn(3, 4, 2, 9, 12)
    same = [
        Guided(_Fixed(d1), _Fixed(d0), 3.0, rule=r)(x, 1.0) for r in ("constant", "fdg(1, 1, 1)")
    ]
    torch.testing.assert_close(same[0], same[1], rtol=1e-5, atol=1e-5)


def test_dynamic_thresholding_leaves_what_is_in_range() -> None:
    d = torch.rand(4, 1, 8, 8) * 2 - 1
    found = Guided(_Fixed(d), _Fixed(d), 3.0, rule="dynamic(99.5)")(d, 1.0)
    assert torch.equal(found, Guided(_Fixed(d), _Fixed(d), 3.0)(d, 1.0))


class _Fixed(Denoiser):
    """An estimate that does not depend on x."""

    def __init__(self, d: Tensor) -> None:
        super().__init__()
        self.d = d

    def forward(self, *rest):  # type: ignore[no-untyped-def]
        return self.d


def test_a_rule_without_a_combination_is_linear() -> None:
    assert parse_rule("clip(9)").combination is None
