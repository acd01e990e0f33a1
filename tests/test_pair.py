import math

import pytest
import torch

from degradations import (
    Denoiser,
    Draws,
    Dropout,
    Guided,
    Identity,
    InputError,
    InputNoise,
    Interval,
    Pair,
)
from study.models import ExactGaussian
from study.sampling import sample
from tests.helpers import small_network

X = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
LABEL = torch.arange(32) % 3


class Forbidden(Denoiser):
    def forward(self, x, sigma, label=None, draws=None):  # type: ignore[no-untyped-def]
        raise AssertionError("must not be evaluated")


@pytest.mark.parametrize("coupling", ["independent", "shared"])
def test_weight_1_is_the_main_alone_and_the_guide_sleeps(coupling: str) -> None:
    main = Dropout(0.3)(small_network())
    ours, theirs = Draws(1), Draws(1)
    for _ in range(3):
        guided = Guided(main, Forbidden(), 1.0, coupling)(X, 0.5, LABEL, ours)  # type: ignore[arg-type]
        assert torch.equal(guided, main(X, 0.5, LABEL, theirs))


def test_weight_0_is_the_guide_alone_and_the_main_sleeps() -> None:
    guide = ExactGaussian(0.5)
    assert torch.equal(Guided(Forbidden(), guide, 0.0)(X, 0.5), guide(X, 0.5))


@pytest.mark.parametrize("weight", [-0.5, 0.5, 1.7, 3.0])
def test_the_equation(weight: float) -> None:
    main, guide = ExactGaussian(0.5), ExactGaussian(1.5)
    expected = weight * main(X, 0.7) + (1 - weight) * guide(X, 0.7)
    torch.testing.assert_close(Guided(main, guide, weight)(X, 0.7), expected)


@pytest.mark.parametrize("coupling", ["independent", "shared"])
@pytest.mark.parametrize("guide", [Dropout(0.4), InputNoise(0.2)])
def test_main_randomness_is_the_same_at_every_weight(
    coupling: str, guide: Dropout | InputNoise
) -> None:
    """D_w − D_w' = (w − w')(D1 − D0): with common draws D1 and D0 recovered from two weights agree
    with a third."""
    pair = Pair(small_network(), Dropout(0.2), guide, coupling)  # type: ignore[arg-type]
    outputs = {}
    for w in (1.0, 2.0, 3.0, 1.5):
        draws = Draws(7)
        outputs[w] = [pair.at(w)(X, 0.6, LABEL, draws) for _ in range(3)]
    for k in range(3):
        one, two, three, half = (outputs[w][k] for w in (1.0, 2.0, 3.0, 1.5))
        torch.testing.assert_close(three, 2 * two - one, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(half, (one + two) / 2, rtol=1e-4, atol=1e-4)


def test_shared_draws_are_the_mains_and_independent_ones_are_not() -> None:
    base, same = small_network(), Dropout(0.3)
    alone = same(base)(X, 0.5, LABEL, Draws(2))
    shared = Pair(base, same, same, "shared").at(2.5)(X, 0.5, LABEL, Draws(2))
    torch.testing.assert_close(shared, alone)  # main and guide are one: nothing is left to guide
    independent = Pair(base, same, same, "independent").at(2.5)(X, 0.5, LABEL, Draws(2))
    assert not torch.allclose(independent, alone, atol=1e-3)


def test_shared_draws_advance_also_where_only_the_guide_draws() -> None:
    pair, draws = Pair(ExactGaussian(0.5), Identity(), InputNoise(0.3), "shared"), Draws(0)
    first, second = (pair.at(2.0)(X, 0.5, None, draws) for _ in range(2))
    assert not torch.equal(first, second)


def test_a_guided_denoiser_can_be_a_main() -> None:
    base = ExactGaussian(0.5)
    inner = Pair(base, InputNoise(0.1), InputNoise(0.2)).at(2.0)
    outer = Guided(inner, base, 1.0)
    assert torch.equal(outer(X, 0.4, None, Draws(0)), inner(X, 0.4, None, Draws(0)))
    assert sample(Guided(inner, base, 1.3), (8, 2), steps=4).shape == (8, 2)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_weights_must_be_finite(weight: float) -> None:
    with pytest.raises(InputError, match="finite"):
        Pair(ExactGaussian(0.5), Identity(), Identity()).at(weight)


def test_unknown_coupling_is_rejected() -> None:
    with pytest.raises(InputError, match="independent or shared"):
        Pair(ExactGaussian(0.5), Identity(), Identity(), "both")  # type: ignore[arg-type]


def test_views_agree_with_their_definitions() -> None:
    """Of x = y + σn the exact D of a point mass at y gives back ε = n, score = −n/σ, and v = αn −
    σαy."""
    from degradations import epsilon, score, velocity

    y, n, sigma = torch.full((4, 3), 0.3), torch.randn(4, 3), torch.tensor([0.1, 0.5, 1.0, 8.0])
    x = y + sigma[:, None] * n
    alpha = 1 / (1 + sigma[:, None] ** 2).sqrt()
    torch.testing.assert_close(epsilon(y, x, sigma), n, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(score(y, x, sigma), -n / sigma[:, None], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        velocity(y, x, sigma), alpha * (n - sigma[:, None] * y), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("sigma", "inside"), [(0.1, False), (0.5, True), (1.0, True), (2.0, True), (2.1, False)]
)
def test_outside_its_interval_guidance_sleeps(sigma: float, inside: bool) -> None:
    main, guide = ExactGaussian(0.5), ExactGaussian(1.5)
    guided = Guided(main, guide, 2.0, rule=Interval(0.5, 2.0))
    assert torch.equal(guided(X, sigma), Guided(main, guide, 2.0 if inside else 1.0)(X, sigma))
    if not inside:
        assert torch.equal(
            Guided(main, Forbidden(), 2.0, rule=Interval(0.5, 2.0))(X, sigma), main(X, sigma)
        )


def test_an_interval_counts_for_each_sample_s_own_level() -> None:
    main, guide, levels = ExactGaussian(0.5), ExactGaussian(1.5), torch.linspace(0.1, 3, 32)
    within, without = Guided(main, guide, 2.0)(X, levels), main(X, levels)
    inside = ((levels >= 0.5) & (levels <= 2.0))[:, None]
    found = Guided(main, guide, 2.0, rule=Interval(0.5, 2.0))(X, levels)
    torch.testing.assert_close(found, torch.where(inside, within, without))


def test_an_interval_leaves_the_main_s_draws_as_they_are() -> None:
    """A guide that sleeps takes nothing from the main, whose masks stay those of weight 1."""
    main, guide = Dropout(0.2)(small_network()), Dropout(0.4)(small_network())
    ours, theirs = Draws(1), Draws(1)
    guided = Guided(main, guide, 2.0, "shared", rule=Interval(1.0, 9.0))
    guided(X, 5.0, LABEL, ours)
    main(X, 5.0, LABEL, theirs)
    assert torch.equal(guided(X, 0.5, LABEL, ours), main(X, 0.5, LABEL, theirs))


def test_an_interval_upside_down_is_rejected() -> None:
    with pytest.raises(InputError, match="accepted: 0 ≤ low ≤ high"):
        Guided(ExactGaussian(0.5), ExactGaussian(0.5), 2.0, rule=Interval(2.0, 0.5))
