"""What a search evaluates, and which weight leads it, on curves that are known."""

import dataclasses
import math
from typing import Any

import pytest

from study.records.results import Results
from study.records.task import Evaluation, Outcome
from study.search import spent
from study.specs import SearchSpec
from tests.searches import LONG, PAIRING, begun, best_of, failing, searched, valley, weights


def test_the_slope_comes_after_1_then_the_probe_s_weight_then_outwards_then_the_vertex() -> None:
    """The endpoint probe is low by a quarter, and here exactly: the next weight has the least."""
    found = searched(LONG, valley(1.85), endpoint=1.6)
    assert weights(found) == [1.0, 1.1, 0.9, 1.6, 1.85, 2.1, 1.8, 1.9]
    slope = found.slope(PAIRING)
    assert slope is not None
    assert slope.mean == pytest.approx((math.exp(0.75**2) - math.exp(0.95**2)) / 0.2)
    assert slope.low < slope.mean < slope.high < 0
    assert best_of(found) == 1.85


@pytest.mark.parametrize("best", [1.3, 1.62, 1.75, 2.1, 2.45, 2.9])
def test_six_evaluations_find_the_least(best: float) -> None:
    found = searched(SearchSpec(), valley(best), endpoint=best - 0.25)
    assert len(weights(found)) <= 6
    assert best_of(found) == pytest.approx(best, abs=0.025 + 1e-9)  # half a step


@pytest.mark.parametrize(
    ("best", "endpoint", "expected"),
    [
        (2.1, 1.25, [1.0, 1.1, 0.9, 1.25, 1.5, 1.75, 2.0, 2.25, 2.1, 2.05, 2.15]),
        # the range ends before another quarter
        (3.4, 2.9, [1.0, 1.1, 0.9, 2.9, 3.15, 3.4, 3.5, 3.35, 3.45]),
        (9.0, 3.0, [1.0, 1.1, 0.9, 3.0, 3.25, 3.5, 3.45]),  # the least is at the end of the range
    ],
)
def test_a_search_goes_outwards_until_the_least_is_bracketed(
    best: float, endpoint: float, expected: list[float]
) -> None:
    found = searched(LONG, valley(best), endpoint)
    assert weights(found) == expected
    assert best_of(found) == min(best, 3.5)


@pytest.mark.parametrize(
    ("best", "endpoint", "expected"),
    [
        (0.6, 0.35, [1.0, 1.1, 0.9, 0.35, 0.1, 0.6, 0.55, 0.65]),
        (0.3, 0.75, [1.0, 1.1, 0.9, 0.75, 0.5, 0.25, 0.0, 0.3, 0.35]),
        (-2.0, 0.2, [1.0, 1.1, 0.9, 0.2, 0.0, 0.05]),
        # a probe on the wrong side of 1
        (1.45, 0.8, [1.0, 1.1, 0.9, 1.25, 1.5, 1.75, 1.45, 1.4]),
    ],
)
def test_in_a_range_below_1_the_least_may_be_there(
    best: float, endpoint: float, expected: list[float]
) -> None:
    found = searched(SearchSpec(weight=(0.0, 3.5), trials=30), valley(best), endpoint)
    assert weights(found) == expected
    assert best_of(found) == pytest.approx(max(best, 0))


@pytest.mark.parametrize(("tolerance", "expected"), [(0.4, 5), (0.3, 6), (0.25, 8)])
def test_a_search_stops_where_the_interval_is_narrow(tolerance: float, expected: int) -> None:
    """Vertices ± 0.02 make an interval 2·t₉·3·0.02 = 0.271 wide, once the least is bracketed."""
    spec = dataclasses.replace(LONG, tolerance=tolerance)
    found = searched(spec, valley(1.6 if expected == 5 else 1.85), endpoint=1.6)
    assert len(weights(found)) == expected
    best = found.best(PAIRING, "fd_pixels")
    assert best is not None
    assert (best.high - best.low < tolerance) == (expected < 8)
    assert best.high - best.low == pytest.approx(2 * 2.2621571628 * 0.06)


@pytest.mark.parametrize(("method", "alone"), [("probe", 20), ("gp", 10)])
@pytest.mark.parametrize("guided", [1, 2, 4])
def test_a_search_keeps_within_its_budget(method: Any, alone: int, guided: int) -> None:
    """Of a sample of 10 steps: main (and for the probe guide) alone, and 10 + 10 evaluations at
    each other weight."""
    spec = dataclasses.replace(LONG, method=method, budget=alone + 20 * guided + 19)
    results = searched(spec, valley(2.9), endpoint=1.5)
    assert spent(results, PAIRING) == alone + 20 * guided
    assert weights(results).count(1.0) == 1
    assert len(weights(results)) == 1 + guided


@pytest.mark.parametrize("method", ["probe", "gp"])
@pytest.mark.parametrize("trials", [1, 3, 5])
def test_a_search_keeps_within_its_trials(method: Any, trials: int) -> None:
    spec = SearchSpec(method=method, trials=trials)
    assert len(weights(searched(spec, valley(2.9), endpoint=1.5))) == trials


def test_a_pairing_that_cannot_gain_is_screened_out() -> None:
    """The probe says 1, and FD rises on both sides; unless it is to be searched all the same."""
    flat, both = valley(1.0, 0.0), [1.0, 1.1, 0.9]
    found = searched(LONG, flat, endpoint=1.0)
    assert weights(found) == both
    assert best_of(found) == 1
    assert found.tested(PAIRING) == [found.searched(PAIRING, weight) for weight in (1.1, 0.9)]
    # so near to 1 that 1.1 tells as much
    assert weights(searched(LONG, flat, endpoint=1.05)) == both
    assert weights(searched(LONG, flat, endpoint=1.0, screen=False)) == [*both, 1.5, 2.0, 0.5]
    assert weights(searched(LONG, flat, endpoint=1.15)) != both


def test_in_a_range_that_begins_at_1_the_other_side_is_not_tried() -> None:
    spec = dataclasses.replace(LONG, weight=(1.0, 3.5))
    found = searched(spec, valley(0.5), endpoint=1.0)
    assert weights(found) == [1.0, 1.1]
    assert found.tested(PAIRING) == [found.searched(PAIRING, 1.1)]
    assert found.slope(PAIRING) is None


@pytest.mark.parametrize("screen", [True, False])
@pytest.mark.parametrize(
    ("best", "spread"), [(1.6, 0.02), (1.04, 0.2)], ids=["falls", "cannot be told"]
)
def test_a_pairing_that_may_gain_is_searched_although_the_probe_says_1(
    best: float, spread: float, screen: bool
) -> None:
    found = searched(LONG, valley(best, spread), endpoint=1.0, screen=screen)
    assert weights(found)[:4] == [1.0, 1.1, 0.9, 1.25]
    assert best_of(found) == pytest.approx(best, abs=0.025)


@pytest.mark.parametrize("step", [0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("endpoint", "best"), [(1.0, 2.0), (1.5, 3.0), (2.0, 2.5)])
def test_a_coarse_step_is_searched_all_the_same(step: float, endpoint: float, best: float) -> None:
    found = searched(dataclasses.replace(LONG, step=step), valley(best), endpoint=endpoint)
    assert best_of(found) == pytest.approx(best, abs=step / 2)


@pytest.mark.parametrize("endpoint", [1.0, 0.9])
def test_screening_looks_below_1_where_the_range_does(endpoint: float) -> None:
    found = searched(dataclasses.replace(LONG, weight=(0.0, 3.5)), valley(0.8), endpoint=endpoint)
    assert weights(found)[:3] == [1.0, 1.1, 0.9]
    assert found.best_task(PAIRING).weight == pytest.approx(0.8, abs=0.05)  # type: ignore[union-attr]
    assert weights(
        searched(dataclasses.replace(LONG, weight=(0.0, 3.5)), valley(1.0, 0.0), endpoint=endpoint)
    ) == [1.0, 1.1, 0.9]


@pytest.mark.parametrize(
    "where", [(1.0,), (1.6,), (1.85,), (1.1,), (0.9,), (1.6, 1.85), (1.0, 1.6, 1.1)]
)
@pytest.mark.parametrize("screen", [True, False])
def test_failed_evaluations_do_not_lead_astray(where: tuple[float, ...], screen: bool) -> None:
    found = searched(LONG, failing(valley(1.85), *where), endpoint=1.6, screen=screen)
    assert {1.0, 1.1, 0.9, 1.6, 1.85} <= set(weights(found))
    succeeded = [e.task.weight for e in found.searches[PAIRING] if e.scores]
    if len(succeeded) >= 3:
        assert best_of(found) == pytest.approx(1.85, abs=0.025)
    assert best_of(found) not in where or best_of(found) == 1.85


def test_a_search_in_which_all_fails_ends() -> None:
    for endpoint in (None, 1.0, 1.6):
        found = searched(LONG, lambda weight: Outcome(), endpoint)
        assert len(weights(found)) <= 4
        assert (found.best_task(PAIRING), found.tested(PAIRING)) == (None, [])


def test_a_failed_probe_is_as_one_that_says_1() -> None:
    assert weights(searched(LONG, valley(1.6), None)) == weights(searched(LONG, valley(1.6), 1.0))


def known(*found: tuple[float, Outcome]) -> Results:
    results = begun(LONG)
    evaluations = [
        Evaluation(results.searched(PAIRING, weight), outcome) for weight, outcome in found
    ]
    return dataclasses.replace(results, searches={PAIRING: evaluations})


def test_the_leader_is_the_parabola_s_least_on_the_grid_and_1_where_1_is_least() -> None:
    found = known(*((weight, valley(1.72)(weight)) for weight in (1.0, 1.5, 2.0)))
    assert best_of(found) == 1.7
    (tested,) = found.tested(PAIRING)
    assert tested == found.searched(PAIRING, 1.7)
    assert [(t.weight, t.seed) for t in found.confirmed(tested)] == [
        (1.7, seed) for seed in range(1, 9)
    ]
    for best in (0.9, 1.2):  # also where the parabola would have it elsewhere
        found = known(*((weight, valley(best)(weight)) for weight in (1.0, 1.5, 2.0)))
        beside = [found.searched(PAIRING, weight) for weight in (1.1, 0.9)]
        assert (best_of(found), found.tested(PAIRING)) == (1, beside)
    found = known((1.0, valley(2.0)(1.0)), (1.5, valley(2.0)(1.5)))
    assert best_of(found) == 1.5  # too few for a parabola: the least tried


def test_each_metric_has_a_leader_of_its_own() -> None:
    """The search minimises the first metric; of another, what it happens to know is read the same
    way."""
    found = known(
        *(
            (
                w,
                Outcome(
                    {
                        "fd_pixels": valley(1.7)(w).scores["fd_pixels"],
                        "fd_other": (w - 2.2) ** 2 + 1,
                    }
                ),
            )
            for w in (1.0, 1.5, 2.0, 2.5)
        )
    )
    assert best_of(found) == 1.7
    other = found.best_task(PAIRING, "fd_other")
    assert other is not None
    assert other.weight == pytest.approx(2.2, abs=0.05)
    assert found.best_task(PAIRING, "fd_missing") is None


@pytest.mark.parametrize(("noise", "shared"), [(0.02, False), (2.0, True)])
def test_a_metric_shares_the_primarys_weight_unless_its_own_is_better(
    noise: float, shared: bool
) -> None:
    """At 1.7, the primary's best, the other is 0.25 above its own least, at 2.2."""

    def outcome(w: float) -> Outcome:
        score = {"fd_pixels": valley(1.7)(w).scores["fd_pixels"], "fd_other": (w - 2.2) ** 2 + 1}
        # not a common one, which would cancel
        spread = [noise * math.sin(9 * w + g) / 10 for g in range(10)]
        return Outcome(score, {m: [v + each for each in spread] for m, v in score.items()})

    found = known(*((w, outcome(w)) for w in (1.0, 1.5, 1.7, 2.2, 2.5)))
    assert best_of(found) == 1.7
    other = found.best_task(PAIRING, "fd_other")
    assert other is not None
    assert other.weight == pytest.approx(1.7 if shared else 2.2, abs=0.05)
