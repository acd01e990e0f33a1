"""How predictions agree with verdicts: coefficients by their definitions, and kinds resampled."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from degradations import InputError
from study.records.agreement import (
    Cells,
    area_under_curve,
    multiclass_correlation,
    rank_correlation,
)

RNG = np.random.default_rng(0)


def test_of_two_classes_it_is_matthews_s() -> None:
    a, b = (RNG.integers(2, size=50) for _ in range(2))
    b = np.where(RNG.random(50) < 0.6, a, b)
    expected = np.corrcoef(a, b)[0, 1]
    assert multiclass_correlation([str(x) for x in a], [str(x) for x in b]) == pytest.approx(
        expected
    )


def test_of_several_classes_it_is_the_correlation_of_their_indicators() -> None:
    """Gorodkin's definition: Cov(X, Y)/√(Cov(X, X)·Cov(Y, Y)), summed over the classes."""
    a = RNG.integers(4, size=80)
    b = np.where(RNG.random(80) < 0.5, a, RNG.integers(4, size=80))
    x, y = (np.eye(4)[each] - np.eye(4)[each].mean(0) for each in (a, b))
    expected = (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())
    assert multiclass_correlation([str(k) for k in a], [str(k) for k in b]) == pytest.approx(
        expected
    )
    assert multiclass_correlation(["x", "y", "z"], ["x", "y", "z"]) == pytest.approx(1)


def test_a_constant_forecast_scores_0() -> None:
    assert (
        multiclass_correlation(["no gain"] * 4, ["no gain", "no gain", "improves", "blends"]) == 0
    )


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    score, positive = RNG.integers(6, size=40), RNG.random(40) < 0.4
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, first in zip(score, positive, strict=True)
        for b, second in zip(score, positive, strict=True)
        if first and not second
    ]
    assert area_under_curve(list(score), list(positive)) == pytest.approx(np.mean(pairs))
    assert area_under_curve([1.0, 2.0], [True, True]) is None


def matrix(n: int) -> Cells:
    kinds = [f"k{i}" for i in range(n)]
    return Cells([a for a in kinds for _ in kinds], kinds * n)


def test_the_rank_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 8, size=(2, 30)).tolist()  # with ties
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_permuted_kinds_keep_the_level_where_rows_share_an_effect() -> None:
    """Two unrelated matrices whose rows differ: cells as independent would find them related."""
    cells, small, n = matrix(6), 0, 60
    for seed in range(n):
        rng = np.random.default_rng(seed)
        a, b = (np.repeat(rng.normal(size=6), 6) + 0.1 * rng.normal(size=36) for _ in range(2))
        small += cells.permutation_p(list(a), list(b), seed) <= 0.1
    assert small / n <= 0.1 + 4 * np.sqrt(0.1 * 0.9 / n)


def test_related_matrices_are_found() -> None:
    rng, cells = np.random.default_rng(1), matrix(6)
    a = rng.normal(size=36)
    assert cells.permutation_p(list(a), list(a + 0.3 * rng.normal(size=36))) < 0.01


def test_the_interval_is_of_kinds_not_of_cells() -> None:
    """Of a mean over cells that depend on their row alone it is as wide as that of the rows."""
    rng, cells = np.random.default_rng(2), matrix(10)
    rows = rng.normal(size=10)
    values = np.repeat(rows, 10)
    interval = cells.interval(lambda chosen: float(values[chosen].mean()))
    assert interval is not None
    width = (interval[1] - interval[0]) / (2 * 1.96)
    assert width == pytest.approx(rows.std() / np.sqrt(10), rel=0.25)
    assert width > 2 * values.std() / np.sqrt(100)
    assert cells.interval(lambda chosen: None) is None


def test_unequal_numbers_are_an_input_error() -> None:
    for call in (
        lambda: multiclass_correlation(["a"], []),
        lambda: rank_correlation([1.0], [1.0, 2.0]),
        lambda: Cells(["a"], []),
        lambda: area_under_curve([], []),
    ):
        with pytest.raises(InputError, match="cells"):
            call()
