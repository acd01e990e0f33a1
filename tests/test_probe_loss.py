"""The weight at which a pair's loss is least, against regressions and closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from degradations import Coupling, Denoiser, Draws, InputError, InputNoise
from degradations.condition import NONE, Condition
from study.evaluation import predictions
from study.evaluation.mean_errors import Points, errors_and_residuals
from study.models import ExactGaussian
from tests.known_errors import STD, Erring, contraction, gaussian


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
