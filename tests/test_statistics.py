import math

import numpy as np
import pytest
from scipy import stats

from degradations import InputError
from study.records.results import Results
from study.records.statistics import best_weight, difference, extrapolate, jackknife
from study.records.task import Evaluation, Outcome
from study.report.rows import rows
from study.report.table import FORMATS, render
from study.specs import ConfirmSpec, PairingSpec, SearchSpec, StudySpec

BASE, MAIN = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], [2.0, 2.1, 1.9, 2.05, 2.0, 1.95]


def without_each(values: np.ndarray) -> np.ndarray:
    """The means of [G, …] without each of the G."""
    return (values.sum(0) - values) / (len(values) - 1)


def test_the_jackknife_of_a_mean_is_the_textbook_s() -> None:
    """Its standard error is s/√n, so that its interval is the one-sample t-test's."""
    x = np.random.default_rng(0).normal(3, 2, 17)
    found, expected = (
        jackknife(x.mean(), without_each(x)),
        stats.ttest_1samp(x, 0).confidence_interval(0.95),
    )
    assert (found.mean, found.low, found.high) == pytest.approx(
        (x.mean(), expected.low, expected.high)
    )
    narrow = jackknife(x.mean(), without_each(x), level=0.5)
    assert narrow.high - narrow.mean == pytest.approx(
        stats.t.ppf(0.75, 16) * x.std(ddof=1) / math.sqrt(17)
    )


def test_nothing_bounds_what_has_no_replicates() -> None:
    for found in (jackknife(2.0, []), jackknife(2.0, [1.9]), difference(3.0, 1.0, [], [])):
        assert (found.mean, found.low, found.high) == (2, -math.inf, math.inf)


def test_common_noise_cancels_in_a_difference() -> None:
    rng = np.random.default_rng(0)
    common, own = rng.normal(0, 10, 10), rng.normal(0, 0.1, 10)
    a, b = 5 + common + own, 3 + common
    found = difference(a.mean(), b.mean(), list(without_each(a)), list(without_each(b)))
    expected = stats.ttest_1samp(a - b, 0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (2 + own.mean(), expected.low, expected.high)
    )
    with pytest.raises(InputError, match="groups; both numbers must be equal"):
        difference(2.0, 1.0, [1.0, 2.0], [1.0])


WEIGHTS = [1.0, 1.5, 2.0, 2.5, 3.0]


def valley(
    weights: list[float], vertex: float, depth: float = 4.0, bend: float = 0.3
) -> np.ndarray:
    """FDs whose logarithm is a parabola."""
    return depth * np.exp(bend * (np.array(weights) - vertex) ** 2)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 1, 2]])
def test_the_best_weight_of_a_parabola_is_its_vertex(order: list[int]) -> None:
    """And its replicates' vertices, ± 0.1 in equal numbers, make the interval: √(9/10·10·0.01) =
    0.3 times t."""
    weights = [WEIGHTS[i] for i in order]
    replicates = np.transpose(
        [valley(weights, 1.8 + 0.1 * (-1) ** g, depth=3 + g) for g in range(10)]
    )
    found = best_weight(weights, list(valley(weights, 1.8)), replicates.tolist())
    assert (found.weight, found.fd) == pytest.approx((1.8, 4.0))
    half = 0.3 * stats.t.ppf(0.975, 9)
    assert (found.low, found.high) == pytest.approx((1.8 - half, 1.8 + half))


def test_the_best_weight_is_fitted_to_the_valley_s_floor() -> None:
    """What is more than a tenth above the least bears no weight, unless it brackets it; what is
    less does."""
    weights = [1.0, 1.5, 1.8, 2.0, 2.1, 3.0, 3.5]  # 1.8 to 2.1 lie within a tenth of the least
    fd = valley(weights, 1.95, bend=1.0)
    found = best_weight(weights, list(fd), [[]] * 7)
    flanks, floor = fd * [2, 1.2, 1, 1, 1, 1.3, 5], fd * [1, 1, 1.05, 1, 1, 1, 1]
    assert best_weight(weights, list(flanks), [[]] * 7) == found
    assert best_weight(weights, list(floor), [[]] * 7).weight != pytest.approx(
        found.weight, abs=0.01
    )


def simulated(
    vertex: float, rng: np.random.Generator, weights: list[float]
) -> tuple[list[float], list[list[float]]]:
    """FD(w) as the mean over ten groups, each with a valley of its own around the vertex."""
    groups = np.array(
        [4 + 2 * (np.array(weights) - vertex - e) ** 2 for e in rng.normal(0, 0.2, 10)]
    )
    return list(groups.mean(0)), without_each(groups).T.tolist()


def test_the_best_weight_s_interval_covers_as_often_as_it_says() -> None:
    rng, times, weights = np.random.default_rng(0), 1000, [1.0, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0]
    found = [best_weight(weights, *simulated(2.0, rng, weights)) for _ in range(times)]
    assert abs(np.mean([best.low < 2 < best.high for best in found]) - 0.95) < 4 * math.sqrt(
        0.95 * 0.05 / times
    )
    assert np.mean([best.weight for best in found]) == pytest.approx(
        2, abs=4 * 0.2 / math.sqrt(10 * times)
    )
    assert all(best.high - best.low < 1 for best in found)


@pytest.mark.parametrize(("vertex", "end"), [(0.7, 1.0), (3.4, 3.0)])
def test_the_best_weight_at_an_end_is_open_there(vertex: float, end: float) -> None:
    replicates = np.transpose(
        [valley(WEIGHTS, vertex + 0.01 * (-1) ** g) for g in range(10)]
    ).tolist()
    found = best_weight(WEIGHTS, list(valley(WEIGHTS, vertex)), replicates)
    assert found.weight == end
    assert found.fd == pytest.approx(float(valley([end], vertex)[0]))
    assert (found.low, found.high) == ((-math.inf, end) if end == 1 else (end, math.inf))


@pytest.mark.parametrize(("values", "end"), [([1.0, 2.0, 2.5], 1.0), ([2.5, 2.0, 1.0], 3.0)])
def test_of_what_bends_down_the_lower_end_is_the_best_weight(
    values: list[float], end: float
) -> None:
    found = best_weight([1.0, 2.0, 3.0], values, [[v, 1.1 * v, 0.9 * v] for v in values])
    assert (found.weight, found.fd) == pytest.approx((end, 1))
    assert (found.low, found.high) == ((-math.inf, 1) if end == 1 else (3, math.inf))


def test_a_best_weight_that_replicates_do_not_agree_on_is_unbounded() -> None:
    replicates = np.transpose([valley(WEIGHTS, 2 + 0.8 * (-1) ** g) for g in range(10)]).tolist()
    found = best_weight(WEIGHTS, list(valley(WEIGHTS, 2)), replicates)
    assert found.weight == pytest.approx(2)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_too_few_weights_have_the_least_tried() -> None:
    for weights, values in [
        ([1.0], [3.0]),
        ([2.0, 1.0], [4.0, 3.0]),
        (WEIGHTS, [3.0, 4.0, 5.0, 3.0, 3.0]),
    ]:
        # 0 has no logarithm
        found = best_weight(weights, values, [[0.0, value] for value in values])
        assert (found.weight, found.fd, found.low, found.high) == (1, 3, -math.inf, math.inf)


@pytest.mark.parametrize(
    ("weights", "values", "replicates", "match"),
    [
        ([], [], [], "must be different"),
        ([1.0, 1.0], [2.0, 3.0], [[], []], "must be different"),
        ([1.0], [2.0, 3.0], [[]], "must be different"),
        ([1.0, 2.0], [2.0, 3.0], [[1.0], []], "as many"),
    ],
)
def test_what_is_no_curve_is_rejected(
    weights: list, values: list, replicates: list, match: str
) -> None:
    with pytest.raises(InputError, match=match):
        best_weight(weights, values, replicates)


def test_the_extrapolation_is_the_line_s_intercept() -> None:
    curves = [
        [(n, 2.0 + e + 300 / n) for n in (400, 600, 1000)] for e in (0.0, 0.1, -0.1, 0.1, -0.1)
    ]
    found = extrapolate(curves[0], curves[1:])
    half = stats.t.ppf(0.975, 3) * math.sqrt(3 / 4 * 4 * 0.01)
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half))
    with pytest.raises(InputError, match="2 different"):
        extrapolate([(100, 1.0), (100, 1.1)], [])


def results(searched: dict[float, float], at: dict[float, float], low: float = 0.0) -> Results:
    """A study of one pairing whose FDs are given: by weight in the search, and in the confirmation;
    base 1, main 2."""
    pairing = PairingSpec("a", "b")
    confirm = ConfirmSpec(samples=10, seed_sets=4, controls=False)
    search = SearchSpec(weight=(low, 3.0))
    spec = StudySpec(
        "x", base="y", extractors=("e",), pairings=(pairing,), search=search, confirm=confirm
    )
    found = Results(spec, {pairing: []}, {})
    confirmed = [
        (1.0, found.confirmed_single("none")),
        (2.0, found.confirmed_single("a")),
        (4.0, found.confirmed_single("b")),
        *((fd, found.confirmed(found.searched(pairing, weight))) for weight, fd in at.items()),
    ]
    shared = {
        task: Evaluation(task, Outcome({"fd_e": value + 0.01 * task.seed}))
        for value, tasks in confirmed
        for task in tasks
    }
    searches = [
        Evaluation(found.searched(pairing, w), Outcome({"fd_e": fd})) for w, fd in searched.items()
    ]
    return Results(spec, {pairing: searches}, shared)


@pytest.mark.parametrize(
    ("searched", "at", "verdict", "weight", "fd"),
    [
        ({1.0: 2.0, 2.0: 1.1}, {2.0: 1.1}, "improves", 2.0, 1.125),
        ({1.0: 2.0, 0.0: 1.2}, {0.0: 1.2}, "blends", 0.0, 1.225),  # a weight of 0 is a weight
        ({1.0: 2.0, 2.0: 3.0}, {1.1: 2.1, 0.9: 2.2}, "no gain", 1.0, 2.025),
        # it is shown on both sides or not at all
        ({1.0: 2.0, 2.0: 3.0}, {1.1: 2.1}, "undecided", 1.0, 2.025),
        # the search preferred 1: 1.1 was not found by it
        ({1.0: 2.0, 2.0: 3.0}, {1.1: 1.5, 0.9: 2.2}, "undecided", 1.0, 2.025),
        # the luckiest trial is not believed
        ({1.0: 2.0, 2.0: 1.9}, {2.0: 2.5}, "no gain", 1.0, 2.025),
    ],
)
def test_rows(searched: dict, at: dict, verdict: str, weight: float, fd: float) -> None:
    table = rows(results(searched, at))
    assert (table[0]["verdict"], table[0]["weight"]) == (verdict, weight)
    assert table[0]["fd"] == pytest.approx(fd)
    assert table[0]["fd_base"] == pytest.approx(1.025)
    for form in FORMATS:
        assert verdict in render(table, form)


def test_rows_of_an_unfinished_study_are_undecided() -> None:
    table = rows(results({1.0: 2.0}, {}))
    assert table[0]["verdict"] == "undecided"
    assert table[0]["recovered"] is None
    assert all(render(table, form) for form in FORMATS)
    with pytest.raises(InputError, match="fd_other"):
        rows(results({1.0: 2.0}, {}), "fd_other")
