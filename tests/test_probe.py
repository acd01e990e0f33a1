"""The probes against closed forms: errors that are known, on denoisers that are."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from degradations import Coupling, Denoiser, Draws, Guided, InputError, InputNoise, Turned
from degradations.condition import NONE, Condition
from study.evaluation import predictions
from study.evaluation.mean_errors import (
    Points,
    Products,
    along_trajectories,
    errors_and_residuals,
    mean_errors,
    noised,
)
from study.evaluation.predictions import forecast, several_guides
from study.models import ExactGaussian, ExactMixture
from study.sampling import SOLVERS, Fixed, edm_sigmas, sample_chunk

STD = 0.75
SIGMAS = [0.3, 1.0, 4.0]


class Erring(Denoiser):
    """gain·D + shift + scale·n with n ~ N(0, I) drawn anew, which counts how often it is
    evaluated."""

    def __init__(
        self, base: Denoiser, shift: Tensor | float = 0.0, scale: float = 0.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.base, self.shift, self.scale, self.gain = base, shift, scale, gain
        self.evaluated = 0

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        self.evaluated += 1
        d = self.gain * self.base(x, sigma, condition, draws) + self.shift
        if self.scale == 0:
            return d
        assert draws is not None
        return d + self.scale * draws.normal("erring", x)


def gaussian(images: int, dim: int, sigmas: list[float] = SIGMAS, seed: int = 0) -> Points:
    """Noised data of N(0, STD²), in double precision."""
    clean = STD * torch.randn(
        images, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return noised(clean, None, sigmas, seed)


def variance_of_product(
    ab: float, aa: float, bb: float, va: float, vb: float, elements: int, k: int
) -> float:
    """Of the unbiased ⟨a, b⟩ from K draws common to both, whose noise of variances va, vb an
    element is one n, scaled.

    Hoeffding's: (1/K)·Σ(a·√vb + b·√va)² + 2/(K(K − 1))·va·vb·elements. (Serfling 1980, § 5.2.1)
    """
    return (aa * vb + bb * va + 2 * ab * math.sqrt(va * vb)) / k + 2 * va * vb * elements / (
        k * (k - 1)
    )


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


def test_errors_that_are_not_finite_are_refused_by_name() -> None:
    base = ExactGaussian(STD)
    with pytest.raises(InputError, match="the errors of bad are not finite"):
        mean_errors(
            base,
            {"good": Erring(base, 0.1), "bad": Erring(base, math.inf)},
            gaussian(2, 2),
            draws=2,
        )


@pytest.mark.parametrize(
    ("r", "degrees"), [(2.0, 0.0), (2.0, 30.0), (3.0, 60.0), (1.5, 120.0), (0.5, 10.0), (2.0, 70.0)]
)
def test_the_forecast_of_turned_errors_is_their_angle_s(r: float, degrees: float) -> None:
    """At every level and of all: e1 = u, e0 = r·R u, so that B/A = r² and C/A = r·cos θ."""
    means = torch.tensor([[1.0, 0.0, 0.0, 0.5], [-1.0, 2.0, 0.0, 0.0]], dtype=torch.float64)
    base = ExactMixture(
        means, 0.1 * torch.eye(4, dtype=torch.float64).repeat(2, 1, 1), torch.ones(2)
    )
    denoisers = {"main": Turned(1.0)(base), "guide": Turned(r, angle=degrees)(base)}
    products = mean_errors(base, denoisers, gaussian(50, 4), draws=2)
    cos = math.cos(math.radians(degrees))
    bend = 1 - 2 * r * cos + r**2
    expected = {
        "cosine": cos,
        "ratio": r,
        "criterion": r * cos,
        "weight": (r**2 - r * cos) / bend,
        "gain": 1 - r**2 * (1 - cos**2) / bend,
    }
    for level in (None, 0, 1, 2):
        found = vars(forecast(products, "main", "guide", level=level))
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)
        # every image has the same: the interval is a point
        for key in ("criterion", "weight", "gain"):
            assert found[f"{key}_ci"] == pytest.approx((expected[key], expected[key]), abs=1e-9)
    assert (found["criterion"] > 1) == (found["weight"] > 1)


def test_levels_count_by_their_weights() -> None:
    """Two levels, at the second of which main and guide have changed places."""
    first = np.array([[1.0, 1.0], [1.0, 4.0]])
    gram = np.stack([np.tile(first, (5, 1, 1)), np.tile(first[::-1, ::-1], (5, 1, 1))])
    for share in (0.0, 0.3, 1.0):
        a, b = 1 * (1 - share) + 4 * share, 4 * (1 - share) + 1 * share
        found = forecast(Products(["m", "g"], [2.0, 1.0], [1 - share, share], gram), "m", "g")
        assert (found.ratio, found.criterion) == pytest.approx((math.sqrt(b / a), 1 / a))
        assert found.weight == pytest.approx((b - 1) / (a - 2 + b))


def contraction(a: float, sigma: float) -> float:
    """k of E[D] = k·x, the mean over n of the exact Gaussian denoiser under `noise(a)`."""
    return STD**2 / (STD**2 + ((1 + a) * sigma) ** 2)


def test_input_noise_errs_in_closed_form() -> None:
    """e = (k_a − k)·x at every x, though each evaluation is random by k_a·√((1 + a)² − 1)·σ."""
    images, dim, k, noise = 200, 6, 16, {"m": 0.2, "g": 0.5}
    points, base = gaussian(images, dim), ExactGaussian(STD)
    products = mean_errors(
        base, {name: InputNoise(a)(base) for name, a in noise.items()}, points, k
    )
    for level, sigma in enumerate(SIGMAS):
        x2 = float((points.x[level] ** 2).sum())
        slope = {name: contraction(a, sigma) - contraction(0, sigma) for name, a in noise.items()}
        variance = {
            name: (contraction(a, sigma) * sigma) ** 2 * ((1 + a) ** 2 - 1)
            for name, a in noise.items()
        }
        for i, m in enumerate(noise):
            for j, g in enumerate(noise):
                mg, mm, gg = slope[m] * slope[g] * x2, slope[m] ** 2 * x2, slope[g] ** 2 * x2
                sd = math.sqrt(
                    variance_of_product(mg, mm, gg, variance[m], variance[g], images * dim, k)
                )
                assert products.gram[level, :, i, j].sum() == pytest.approx(mg, abs=4 * sd)
        found, r = forecast(products, "m", "g", level=level), slope["g"] / slope["m"]
        for value, interval, truth in [
            (found.weight, found.weight_ci, r / (r - 1)),
            (found.criterion, found.criterion_ci, r),
        ]:
            assert interval is not None
            width = interval[1] - interval[0]  # four standard deviations
            assert width < truth / 2
            assert value == pytest.approx(truth, abs=width)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of the weight and of the criterion, 95 % within Monte-Carlo error, over draws and images."""
    times, base, sigma = 300, ExactGaussian(STD), 1.0
    noise = {"m": InputNoise(0.3)(base), "g": InputNoise(0.9)(base)}
    r = (contraction(0.9, sigma) - contraction(0, sigma)) / (
        contraction(0.3, sigma) - contraction(0, sigma)
    )
    hits = np.zeros(2)
    for seed in range(times):
        products = mean_errors(
            base, noise, gaussian(100, 8, [sigma], seed), draws=8, seed=100 * seed
        )
        found = forecast(products, "m", "g", resamples=300, seed=seed)
        assert found.weight_ci is not None
        assert found.criterion_ci is not None
        (low, high), (least, most) = found.weight_ci, found.criterion_ci
        hits += [low < r / (r - 1) < high, least < r < most]
    assert hits / times == pytest.approx([0.95, 0.95], abs=4 * math.sqrt(0.95 * 0.05 / times))


def test_nothing_is_predicted_of_a_main_that_is_its_own_guide() -> None:
    base, points = ExactGaussian(STD), gaussian(30, 4)
    alike = {"m": InputNoise(0.5)(base), "again": InputNoise(0.5)(base)}
    products = mean_errors(base, alike, points, draws=8)
    for guide in ("m", "again"):
        found = forecast(products, "m", guide)
        assert (found.weight, found.weight_ci, found.gain, found.gain_ci) == (
            None,
            None,
            None,
            None,
        )
        assert (found.cosine, found.ratio, found.criterion) == pytest.approx((1, 1, 1))


def test_nothing_is_predicted_of_pure_noise() -> None:
    """Without mean errors the criterion is undetermined in 95 of 100. Where the guide alone errs,
    the weight is 1:

    w* − 1 ≈ (C − A)/B, whose standard deviation is at most (9.1 + 5.8)/200 of one, by
    `variance_of_product`.
    """
    base, times = ExactGaussian(STD), 200
    pair = {"m": Erring(base, 0, 1.0), "g": Erring(base, 0, 2.0), "errs": Erring(base, 1.0, 1.0)}
    undetermined, weights = 0, []
    for seed in range(times):
        products = mean_errors(base, pair, gaussian(50, 4, [1.0], seed), draws=4, seed=100 * seed)
        found = forecast(products, "m", "g", resamples=200)
        undetermined += found.criterion is None and found.cosine is None
        assert found.criterion is not None or (found.criterion_ci, found.gain) == (None, None)
        weights.append(forecast(products, "m", "errs", resamples=200).weight)
    assert undetermined / times >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / times)
    known = [weight for weight in weights if weight is not None]
    assert len(known) == times
    assert np.mean(known) == pytest.approx(1, abs=4 * 0.075 / math.sqrt(times))


def test_no_weight_is_predicted_where_the_means_err_alike() -> None:
    """Main and guide with one mean error and unlike noise: A − 2C + B is 0, and found to be other
    in 5 of 100."""
    base, times = ExactGaussian(STD), 200
    pair = {"m": Erring(base, 1.0, 1.0), "g": Erring(base, 1.0, 2.0)}
    undetermined = 0
    for seed in range(times):
        products = mean_errors(base, pair, gaussian(50, 4, [1.0], seed), draws=4, seed=100 * seed)
        found = forecast(products, "m", "g", resamples=200)
        undetermined += found.weight is None
        assert (found.weight is None) == (found.gain is None)
        assert found.criterion is not None
    assert undetermined / times >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / times)


def test_products_are_found_by_name_in_any_order() -> None:
    gram = np.random.default_rng(0).normal(size=(2, 3, 3, 3))
    found = Products(["a", "b", "c"], [2.0, 1.0], [1.0, 1.0], gram).of(["c", "a"])
    assert found.shape == (2, 3, 2, 2)
    assert np.array_equal(found[..., 0, 1], gram[..., 2, 0])
    assert np.array_equal(found[..., 1, 1], gram[..., 0, 0])


def shifted(**errors: list[float]) -> tuple[ExactGaussian, dict[str, Denoiser]]:
    """A base, and denoisers with a constant error each."""
    base = ExactGaussian(STD)
    return base, {
        name: Erring(base, torch.tensor(error, dtype=torch.float64))
        for name, error in errors.items()
    }


def test_one_guide_of_several_is_the_forecast_s() -> None:
    base, denoisers = shifted(main=[1.0, 0.5, 0.0], guide=[2.0, 2.0, 1.0])
    products = mean_errors(base, denoisers, gaussian(10, 3), draws=2)
    weight = forecast(products, "main", "guide").weight
    assert weight is not None
    assert several_guides(products, "main", ["guide"])[0] == pytest.approx([weight])
    assert weight == pytest.approx((9 - 3) / (1.25 - 6 + 9))


def test_guides_that_exaggerate_one_part_each_mend_both() -> None:
    """e1 − e01 = (−2, 0) and e1 − e02 = (0, −1): weights 1 + 1/2 and 1 + 1/1, and nothing is left
    of the error."""
    base, denoisers = shifted(main=[1.0, 1.0], first=[3.0, 1.0], second=[1.0, 2.0])
    points = gaussian(10, 2)
    weights, intervals = several_guides(
        mean_errors(base, denoisers, points, draws=2), "main", ["first", "second"]
    )
    assert weights == pytest.approx([1.5, 2.0])
    assert [end for interval in intervals for end in interval] == pytest.approx(
        [1.5, 1.5, 2.0, 2.0]
    )
    d1, d01, d02 = (denoiser(points.x[0], 1.0) for denoiser in denoisers.values())
    guided = d1 + (weights[0] - 1) * (d1 - d01) + (weights[1] - 1) * (d1 - d02)
    torch.testing.assert_close(guided, base(points.x[0], 1.0))


def test_random_guides_that_err_alike_are_refused() -> None:
    """Noise at the input of the exact Gaussian: every error is a multiple of x, up to the noise of
    the estimate."""
    denoisers = {f"noise({a})": InputNoise(a)(ExactGaussian(0.7)) for a in (0.1, 0.2, 0.4)}
    points = noised(
        0.7 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), None, [1.0], 0
    )
    products = mean_errors(ExactGaussian(0.7), denoisers, points, draws=32)
    with pytest.raises(InputError, match="do not differ"):
        several_guides(products, "noise(0.1)", ["noise(0.2)", "noise(0.4)"])


@pytest.mark.parametrize("other", [[3.0, 1.0], [5.0, 1.0]], ids=["equal", "collinear"])
def test_guides_that_err_alike_are_refused(other: list[float]) -> None:
    base, denoisers = shifted(main=[1.0, 1.0], first=[3.0, 1.0], second=other)
    products = mean_errors(base, denoisers, gaussian(10, 2), draws=2)
    with pytest.raises(InputError, match="first, second do not differ"):
        several_guides(products, "main", ["first", "second"])


def loss(
    main: Denoiser, guide: Denoiser, points: Points, draws: int = 2, coupling: Coupling = "shared"
) -> predictions.LossForecast:
    denoisers, guides = (
        {"main": main, "guide": guide},
        ["guide"] if coupling == "independent" else [],
    )
    _, residuals = errors_and_residuals(main, denoisers, points, draws, draws, guides)
    assert residuals is not None
    return predictions.loss(residuals, "main", "guide", coupling)


@pytest.mark.parametrize(("main", "guide"), [(0.9, 0.7), (1.2, 1.5), (0.8, 1.3), (1.3, 0.9)])
def test_the_loss_of_linear_denoisers_is_least_at_the_regression_s(
    main: float, guide: float
) -> None:
    """D_w = (w·c1 + (1 − w)·c0)·k·x: best where the bracket times k is the regression of y on x,
    Σxy/Σx²."""
    points, base = gaussian(300, 4, [0.7]), ExactGaussian(STD)
    assert points.clean is not None
    x, k = points.x[0], contraction(0, 0.7)
    best = float((x * points.clean).sum() / (x * x).sum()) / k
    found = loss(Erring(base, gain=main), Erring(base, gain=guide), points)
    assert found.weight == pytest.approx((best - guide) / (main - guide))
    left = [float(((c * k * x - points.clean) ** 2).sum()) for c in (best, main)]
    assert found.gain == pytest.approx(1 - left[0] / left[1])
    assert found.weight_ci is not None
    truth = (1 - guide) / (main - guide)  # the exact denoiser's own slope is the best there is
    assert found.weight_ci[0] < truth < found.weight_ci[1]


def test_the_loss_of_an_exact_main_is_least_at_weight_1() -> None:
    """And noise alone tells: k̂ − k has the standard deviation s·σ/((s² + σ²)·√n)."""
    points, base = gaussian(2000, 4, [0.7]), ExactGaussian(STD)
    found = loss(base, Erring(base, gain=0.5), points)
    total = STD**2 + 0.7**2
    sd = STD * 0.7 / (total * math.sqrt(8000)) / (0.5 * contraction(0, 0.7))
    assert found.weight == pytest.approx(1, abs=4 * sd)


@pytest.mark.parametrize(("coupling", "weight"), [("shared", 2.0), ("independent", 0.8)])
def test_in_the_loss_the_coupling_counts(coupling: Coupling, weight: float) -> None:
    """Noise c1 = 1, c0 = 2 and no other error: shared, (w·c1 + (1 − w)·c0)² is least at c0/(c0 −
    c1); independent,

    w²c1² + (1 − w)²c0² is at c0²/(c1² + c0²). The standard deviation is a regression's: of D_w − y
    over D0 − D1, /√n.
    """
    images, dim, k, sigma = 500, 4, 8, 0.7
    base = ExactGaussian(STD)
    found = loss(
        Erring(base, 0, 1.0), Erring(base, 0, 2.0), gaussian(images, dim, [sigma]), k, coupling
    )
    rest = contraction(0, sigma) * sigma**2  # of the exact denoiser, s²σ²/(s² + σ²)
    left, apart = (
        (rest, 1.0) if coupling == "shared" else (rest + weight**2 + 4 * (1 - weight) ** 2, 5.0)
    )
    assert found.weight == pytest.approx(
        weight, abs=4 * math.sqrt(left / apart / (images * dim * k))
    )


class RandomAbove(Denoiser):
    """0 or, above a noise level, 2·u: random at some levels only."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        assert draws is not None
        return 2 * draws.uniform("u", x).to(x) if sigma > self.sigma else torch.zeros_like(x)


def test_in_the_loss_every_level_counts_by_its_weight() -> None:
    points, base = gaussian(300, 4, [4.0, 0.5]), ExactGaussian(STD)
    few, many = (
        loss(Erring(base, gain=0.8), RandomAbove(1.0), points, draws).weight for draws in (2, 64)
    )
    assert few == pytest.approx(many, rel=0.05)


def test_the_loss_wants_clean_data_and_two_denoisers() -> None:
    points, base = gaussian(20, 2), ExactGaussian(STD)
    with pytest.raises(InputError, match="without clean images"):
        loss(base, base, replace(points, clean=None))
    found = loss(InputNoise(0.2)(base), InputNoise(0.2)(base), points)
    assert (found.weight, found.weight_ci, found.gain) == (None, None, None)


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


@pytest.mark.parametrize("solver", SOLVERS)
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
    for _ in range({"euler": 11, "heun": 22}[solver]):
        draws.normal("noise", samples)
    last = SOLVERS[solver].step(
        lambda x, sigma: base(x, sigma, None, draws), points.x[-1], points.sigmas[-1], 0.0
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


def test_the_pair_s_forecast_is_that_of_its_guided_mean_error() -> None:
    """An independent way to the least: |e_w|² of the guided denoiser itself, at three weights, and
    their parabola."""
    base, points = ExactGaussian(STD), gaussian(40, 4)
    main, guide = Turned(1.0, angle=20)(base), Turned(2.5, angle=50)(base)
    weights = (0.0, 1.0, 2.0)
    guided = {f"{w}": Guided(main, guide, w) for w in weights}
    found = mean_errors(base, {"main": main, "guide": guide, **guided}, points, draws=2)
    pooled = np.einsum("l,lbij->ij", np.asarray(points.weights), found.gram)
    parabola = np.polyfit(weights, [pooled[i, i] for i in (2, 3, 4)], 2)
    expected = forecast(found, "main", "guide")
    assert expected.weight == pytest.approx(-parabola[1] / (2 * parabola[0]))
    assert expected.gain == pytest.approx(1 - np.polyval(parabola, expected.weight) / pooled[0, 0])
