"""The conformance suites of solvers, metrics, objectives and data sets: a row for each member.

Degradations, rules and extractors have theirs in test_degradations, test_rules, test_extractors.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from degradations import Draws, Guided, InputError, Levels
from study.data import DATA, load_data
from study.metrics import Pixels, Tally, metrics, references, scores
from study.models import ExactGaussian
from study.sampling import edm_sigmas, grid_of, grids, levels_on, listed, sample, solver_of, solvers
from study.specs import RecipeSpec, SamplerSpec
from study.training import noise_levels, objective_of, objectives
from tests.plain_denoisers import mixture

SOLVERS = [("euler", 1), ("heun", 2), ("midpoint", 2), ("ddim", 1), ("dpmpp-2m", 2)]
STOCHASTIC = [("ddpm", 1), ("ddim(eta=0.5)", 1), ("edm-sde", 1), ("edm-sde(beta=4)", 1)]
GRIDS: list[tuple[str, Callable[[float, float], float]]] = [  # the level halfway
    ("edm", lambda high, low: ((high ** (1 / 7) + low ** (1 / 7)) / 2) ** 7),
    ("edm(rho=3)", lambda high, low: ((high ** (1 / 3) + low ** (1 / 3)) / 2) ** 3),
    ("linear", lambda high, low: (high + low) / 2),
    ("cosine", lambda high, low: math.tan((math.atan(high) + math.atan(low)) / 2)),
    ("log-snr", lambda high, low: math.sqrt(high * low)),
    ("ve", lambda high, low: math.sqrt(high * low)),
    ("vp", lambda high, low: of_time((time_of(high) + time_of(low)) / 2)),
]
METRICS = [
    ("Accuracy", {}),  # of an extractor without a classifier
    ("Pairs", {"kd": None, "precision": 1.0, "recall": 1.0, "density": None, "coverage": 1.0}),
    ("Saturation", {}),  # of points
]
OBJECTIVES: list[tuple[str, Callable[[float, float, float], float]]] = [
    # E|D − y|² = s²σ²/(s² + σ²) an element for data N(0, s²), times λ: (σ² + σd²)/(σσd)² of EDM
    ("edm", lambda s, sigma, sd: s**2 * (sigma**2 + sd**2) / (s**2 + sigma**2) / sd**2),
    ("edm2", lambda s, sigma, sd: s**2 * (sigma**2 + sd**2) / (s**2 + sigma**2) / sd**2),
    # 1/σ², the error of ε
    ("epsilon", lambda s, sigma, sd: s**2 / (s**2 + sigma**2)),
    # and that times 1/(1 + SNR)
    ("p2", lambda s, sigma, sd: s**2 * sigma**2 / (s**2 + sigma**2) / (1 + sigma**2)),
]
DATA_SETS = [("digits", (1, 8, 8), 10), ("fractal", (2,), 0)]


def test_every_member_has_a_row() -> None:
    assert [name for name, _ in METRICS] == [type(each).__name__ for each in metrics()]
    assert [name for name, _ in OBJECTIVES] == list(objectives())
    assert [name for name, *_ in DATA_SETS] == list(DATA)


def of_time(t: float) -> float:
    """σ of the variance-preserving process: ln ᾱ = −(19.9·t²/2 + 0.1·t)."""
    kept = math.exp(-(19.9 * t**2 / 2 + 0.1 * t))
    return math.sqrt((1 - kept) / kept)


def time_of(sigma: float) -> float:
    return float(brentq(lambda t: of_time(t) - sigma, 0.0, 1.5, xtol=1e-15))


@pytest.mark.parametrize(("name", "halfway"), GRIDS)
class TestGrid:
    def test_it_falls_from_the_highest_to_the_lowest_level(
        self, name: str, halfway: Callable[[float, float], float]
    ) -> None:
        sigmas = levels_on(grid_of(name), 9, 0.01, 50.0)
        assert sigmas.dtype == torch.float64
        assert sigmas[[0, 8, 9]].tolist() == pytest.approx([50, 0.01, 0], rel=1e-9)
        assert bool((sigmas.diff() < 0).all())
        assert float(sigmas[4]) == pytest.approx(halfway(50.0, 0.01), rel=1e-9)
        assert str(grid_of(name)) == name

    def test_it_stays_within_the_denoiser_s_levels(
        self, name: str, halfway: Callable[[float, float], float]
    ) -> None:
        inside = levels_on(grid_of(name), 5, 0.01, 50.0, Levels(0.1, 20.0))
        assert inside[[0, 4]].tolist() == pytest.approx([20, 0.1])
        with pytest.raises(InputError, match=r"made for, 0\.1 to 20"):
            levels_on(grid_of(name), 5, 30.0, 50.0, Levels(0.1, 20.0))


def test_a_list_of_one_s_own_is_refined_in_logarithms() -> None:
    own = [9.0, 3.0, 1.0]
    assert listed(own, 3).tolist() == [9, 3, 1, 0]
    assert listed(own, 5).tolist() == pytest.approx([9, 27**0.5, 3, 3**0.5, 1, 0])
    with pytest.raises(InputError, match=r"sampler\.sigmas: found 9 to 1; accepted: noise levels"):
        listed(own, 3, Levels(0.1, 5.0))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"sigmas": (2.0, 2.0), "steps": 2}, "sampler.sigmas: .*noise levels that fall"),
        ({"sigmas": (2.0, 0.0), "steps": 2}, "sampler.sigmas: .*all above 0"),
        ({"sigmas": (2.0, 1.0), "steps": 3}, "sampler.sigmas: .*as many as sampler.steps, 3"),
        ({"sigmas": (2.0, 1.0), "steps": 2, "grid": "ve"}, "sampler.grid: .*together with"),
    ],
)
def test_bad_levels_are_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SamplerSpec(**changed)


@pytest.mark.parametrize(("name", "order"), SOLVERS)
class TestSolver:
    @pytest.mark.parametrize(
        "denoiser", [Guided(ExactGaussian(0.5), ExactGaussian(0.9), 1.8), mixture()]
    )
    def test_it_converges_with_its_order(self, name: str, order: int, denoiser: Guided) -> None:
        def solve(steps: int, by: str = name) -> torch.Tensor:
            levels = {"sigma_min": 0.02, "sigma_max": 10.0}
            return sample(denoiser, (64, 2), solver=by, steps=steps, dtype=torch.float64, **levels)

        limit = solve(4096, "heun")
        steps = [64, 128, 256, 512]
        errors = [float((solve(n) - limit).abs().max()) for n in steps]
        slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert solver_of(name).order == order
        assert slope == pytest.approx(-order, abs=0.15)

    @pytest.mark.parametrize("steps", [2, 3, 17])
    def test_it_evaluates_where_it_says(self, name: str, order: int, steps: int) -> None:
        solver, base, asked = solver_of(name), ExactGaussian(0.75), []

        def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
            asked.append(sigma)
            return base(x, sigma)

        sigmas, draws = edm_sigmas(steps, 0.01, 20.0).tolist(), Draws(0)
        x = 20.0 * torch.randn(3, 2)
        expected = solver.visits(sigmas)
        for number, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            x = solver.step(denoise, x, sigma, sigma_next, draws)
            assert len(asked) == sum(step <= number for step, _ in expected)
        assert asked == [level for _, level in expected]
        assert solver.nfe(steps) == len(asked)


class Given(Draws):
    """Draws that give one number."""

    def __init__(self, number: float) -> None:
        super().__init__(0)
        self.number = number

    def normal(self, stream: str, like: torch.Tensor) -> torch.Tensor:
        return torch.full_like(like, self.number)


@pytest.mark.parametrize(("name", "order"), STOCHASTIC)
def test_a_stochastic_solver_converges_in_distribution(name: str, order: int) -> None:
    """Of N(0, s²) D is linear in x, so a step maps variances linearly; nothing is sampled."""
    std, low, solver = 0.5, 0.02, solver_of(name)
    base = ExactGaussian(std)

    def variance(steps: int) -> float:
        sigmas = edm_sigmas(steps, low, 10.0).tolist()
        found = std**2 + sigmas[0] ** 2
        for sigma, sigma_next in pairwise(sigmas):

            def step(x: float, n: float, at: tuple[float, float] = (sigma, sigma_next)) -> float:
                given = torch.full((1, 1), x, dtype=torch.float64)
                return float(solver.step(base, given, *at, Given(n)))

            found = step(1.0, 0.0) ** 2 * found + step(0.0, 1.0) ** 2
        return found

    limit = std**4 / (std**2 + low**2)  # D at the last level
    steps = [64, 128, 256, 512]
    errors = [abs(variance(n) - limit) for n in steps]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(-order, abs=0.15)
    assert (solver.order, solver.nfe(7)) == (order, 7)


def test_every_solver_and_grid_has_a_row() -> None:
    assert {name.split("(")[0] for name, _ in GRIDS} == set(grids())
    rows = {name.split("(")[0] for name, _ in [*SOLVERS, *STOCHASTIC]}
    assert rows == set(solvers())
    for name in rows:
        assert str(solver_of(name)) == name


def test_ddim_is_euler_in_the_rescaled_variables() -> None:
    """Without fresh noise, for guided denoisers too; `ddim(eta=1)` is `ddpm`."""
    guided = Guided(ExactGaussian(0.5), ExactGaussian(0.9), 1.8)
    for a, b in (("ddim", "euler"), ("ddim(eta=1)", "ddpm"), ("edm-sde(beta=0)", "euler")):
        first, second = (
            sample(guided, (8, 3), solver=each, steps=18, dtype=torch.float64) for each in (a, b)
        )
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["ddpm", "dpmpp-2m", "edm-sde", "ddim(eta=0.5)"])
def test_a_solver_that_draws_or_remembers_needs_draws(name: str) -> None:
    with pytest.raises(InputError, match="found no draws"):
        solver_of(name).step(ExactGaussian(0.5), torch.zeros(2, 2), 2.0, 1.0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rk4", r"'rk4' is not a solver; accepted: ddim\(eta=NUMBER\), ddpm"),
        ("ddim(2)", r"write ddim\(eta=NUMBER\)"),
        ("ddim(eta=2)", "found eta 2; accepted: 0 to 1"),
        ("edm-sde(beta=-1)", "found beta -1; accepted: 0 to 100"),
        ("Heun", "'Heun' is not a solver"),
    ],
)
def test_solvers_that_are_none_are_named(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        solver_of(name)


@pytest.mark.parametrize(("name", "of_itself"), METRICS)
class TestMetric:
    def test_scores_of_the_reference_itself(
        self, name: str, of_itself: dict[str, float | None]
    ) -> None:
        x, extractor = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)), Pixels()
        found = references(x, [extractor])
        whole, parts = Tally([extractor]), Tally([extractor])
        whole.fold(x, 0)
        parts.fold(x[:70], 0)
        parts.fold(x[70:], 70)
        (metric,) = (each for each in metrics() if type(each).__name__ == name)
        result = metric.scores("pixels", whole, found["pixels"], held_out=False)
        assert result.keys() == of_itself.keys()
        for key, value in of_itself.items():
            assert value is None or result[key] == pytest.approx(value)
            assert math.isfinite(result[key])
        assert metric.scores("pixels", parts, found["pixels"], False) == pytest.approx(result)
        held_out = metric.scores("pixels", whole, found["pixels"], held_out=True)
        assert held_out.items() <= result.items()
        assert {f"{key}_pixels" for key in result} <= scores(whole, found).keys()


@pytest.mark.parametrize(("name", "at"), OBJECTIVES)
class TestObjective:
    def test_loss_of_the_exact_denoiser_is_its_closed_form(
        self, name: str, at: Callable[[float, float, float], float]
    ) -> None:
        """And another denoiser has a larger one."""
        objective, n, s = objective_of(name), 200_000, 0.6
        generator = torch.Generator().manual_seed(0)
        y, noise = (torch.randn(n, 2, generator=generator) for _ in range(2))
        sigma = noise_levels(RecipeSpec(), n, generator)
        exact, other = (
            objective.loss(ExactGaussian(scale * s), s * y, noise, sigma, sigma_data=0.5)
            for scale in (1.0, 1.5)
        )
        expected = np.array([at(s, each, 0.5) for each in sigma.tolist()])
        # the loss of a sample is its expectation times χ²₂/2, whose standard deviation is 1
        error = float(np.sqrt((expected**2).mean() / n))
        assert float(exact) == pytest.approx(float(expected.mean()), abs=4 * error)
        assert float(other) > float(exact)


@pytest.mark.parametrize(("name", "shape", "classes"), DATA_SETS)
class TestDataSet:
    def test_it_is_what_it_says(self, name: str, shape: tuple[int, ...], classes: int) -> None:
        data, again = load_data(name), DATA[name]()
        assert (data.name, data.shape, data.classes) == (name, shape, classes)
        assert data.samples.dtype == torch.float32
        assert bool(data.samples.isfinite().all())
        assert torch.equal(data.samples, again.samples)
        if len(shape) == 3:
            assert float(data.samples.abs().max()) <= 1
        if classes:
            assert data.labels is not None
            assert data.labels.dtype == torch.int64
            assert set(data.labels.tolist()) == set(range(classes))
            assert len(data.labels) == len(data.samples)

    def test_its_split_keeps_the_classes(
        self, name: str, shape: tuple[int, ...], classes: int
    ) -> None:
        data = load_data(name)
        train, rest = data.split(0.8)
        assert len(train.samples) == round(0.8 * len(data.samples))
        assert len(train.samples) + len(rest.samples) == len(data.samples)
        if data.counts is not None and train.counts is not None:
            assert bool(((train.counts - 0.8 * data.counts).abs() <= 1).all())
