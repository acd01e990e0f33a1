"""Main and guide around one network: in one batch, or with one evaluation for both."""

import pytest
import torch
from torch import Tensor

from degradations import Denoiser, Draws, Dropout, Pair
from degradations.guidance import together
from study.models import EDM
from tests.helpers import small_network
from tests.plain_denoisers import randn

AROUND = ["none", "noise(0.3)", "sigma(0.2)", "input-quantize(4)", "label-drop(0.5)"]
AROUND += ["label-drop(1)", "label-swap(0.7)", "score(-0.5)"]
AROUND += ["radial(0.5)+sigma(0.1)", "sigma(0.1)+radial(0.5)"]


class Counted(Denoiser):
    """A denoiser that keeps the number of samples of every evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: EDM = small_network()
        self.batches: list[int] = []

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        self.batches.append(len(x))
        return self.inside(x, sigma, condition, draws)


def guided(pair: Pair, n: int = 12) -> Tensor:
    return pair.at(2.0)(randn(n, 16), 0.7, torch.arange(n) % 3, Draws(5))


def separately(pair: Pair, n: int = 12) -> Tensor:
    denoiser = pair.at(2.0)
    denoiser.together = None
    return denoiser(randn(n, 16), 0.7, torch.arange(n) % 3, Draws(5))


@pytest.mark.parametrize("coupling", ["independent", "shared"])
@pytest.mark.parametrize("guide", AROUND)
@pytest.mark.parametrize("main", AROUND)
def test_it_is_what_two_evaluations_give(main: str, guide: str, coupling: str) -> None:
    base = Counted()
    pair = Pair(base, main, guide, coupling)  # type: ignore[arg-type]
    # rounding of another order of additions, at most
    torch.testing.assert_close(guided(pair), separately(pair), rtol=1e-4, atol=1e-5)
    assert base.batches == ([12] if pair.shares else [24]) + [12, 12]


@pytest.mark.parametrize(
    ("main", "guide", "shares"),
    [
        ("none", "score(-1)", True),
        ("none", "radial(1)", True),
        ("sigma(0.2)", "sigma(0.2)+score(0.3)", True),
        ("label-drop(1)", "label-drop(1)+radial(1)", True),
        ("none", "sigma(0.2)", False),
        ("label-drop(0.5)", "label-drop(0.5)+radial(1)", False),  # each draws its own
        ("noise(0.2)", "noise(0.2)+score(0.3)", False),
        ("dropout(0.2)", "dropout(0.2)+score(0.3)", False),
        ("none", "prune(0.5)", False),
    ],
)
def test_one_evaluation_is_for_both_if_the_questions_are_the_same(
    main: str, guide: str, shares: bool
) -> None:
    assert Pair(small_network(), main, guide).shares == shares


def test_networks_that_draw_are_evaluated_apart() -> None:
    assert Pair(small_network(), "dropout(0.2)", "dropout(0.2)").at(2.0).together is None
    assert Pair(Dropout(0.2)(small_network()), "none", "sigma(0.1)").at(2.0).together is None


def test_large_batches_are_evaluated_apart() -> None:
    n = together.MOST_IN_ONE // 2 // 16
    base = Counted()
    pair = Pair(base, "none", "sigma(0.2)")
    guided(pair, n)
    assert torch.equal(guided(pair, n + 1), separately(pair, n + 1))
    assert base.batches == [2 * n, *[n + 1] * 4]


def test_noise_levels_keep_their_precision() -> None:
    """In float64 a level given as a number is not rounded to float32."""
    base = small_network().double()
    x, label = randn(6, 16).double(), torch.arange(6) % 3
    for sigma in (0.7, torch.full((6,), 0.7, dtype=torch.float64)):
        pair = Pair(base, "none", "sigma(0.2)")
        main, guide = base(x, 0.7, label), base(x, 1.2 * 0.7, label)
        torch.testing.assert_close(
            pair.at(2.0)(x, sigma, label), 2 * main - guide, rtol=1e-10, atol=1e-12
        )
