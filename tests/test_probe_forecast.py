"""What mean errors forecast of a guide, or of several, against closed forms."""

import math

import numpy as np
import pytest
import torch

from degradations import Denoiser, Guided, InputError, InputNoise, Turned
from study.evaluation.mean_errors import Products, mean_errors, noised
from study.evaluation.predictions import predict, several_guides
from study.models import ExactGaussian, ExactMixture
from tests.known_errors import SIGMAS, STD, Erring, contraction, gaussian, variance_of_product


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
        found = vars(predict(products, "main", "guide", level=level))
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
        found = predict(Products(["m", "g"], [2.0, 1.0], [1 - share, share], gram), "m", "g")
        assert (found.ratio, found.criterion) == pytest.approx((math.sqrt(b / a), 1 / a))
        assert found.weight == pytest.approx((b - 1) / (a - 2 + b))


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
        found, r = predict(products, "m", "g", level=level), slope["g"] / slope["m"]
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
        found = predict(products, "m", "g", resamples=300, seed=seed)
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
        found = predict(products, "m", guide)
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
        found = predict(products, "m", "g", resamples=200)
        undetermined += found.criterion is None and found.cosine is None
        assert found.criterion is not None or (found.criterion_ci, found.gain) == (None, None)
        weights.append(predict(products, "m", "errs", resamples=200).weight)
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
        found = predict(products, "m", "g", resamples=200)
        undetermined += found.weight is None
        assert (found.weight is None) == (found.gain is None)
        assert found.criterion is not None
    assert undetermined / times >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / times)


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
    weight = predict(products, "main", "guide").weight
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


def test_random_guides_that_err_alike_are_rejected() -> None:
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
def test_guides_that_err_alike_are_rejected(other: list[float]) -> None:
    base, denoisers = shifted(main=[1.0, 1.0], first=[3.0, 1.0], second=other)
    products = mean_errors(base, denoisers, gaussian(10, 2), draws=2)
    with pytest.raises(InputError, match="first, second do not differ"):
        several_guides(products, "main", ["first", "second"])


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
    expected = predict(found, "main", "guide")
    assert expected.weight == pytest.approx(-parabola[1] / (2 * parabola[0]))
    assert expected.gain == pytest.approx(1 - np.polyval(parabola, expected.weight) / pooled[0, 0])
