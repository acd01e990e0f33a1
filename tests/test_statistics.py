import math

import numpy as np
import pytest
from scipy import stats

from degradations import Refused
from study.statistics import compare

BASE, MAIN = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], [2.0, 2.1, 1.9, 2.05, 2.0, 1.95]


def test_the_numbers_are_the_rule_s() -> None:
    guided = [1.2, 1.25, 1.1, 1.3, 1.2, 1.15]
    found, d, c = compare(2.0, BASE, MAIN, guided), np.subtract(MAIN, guided), np.subtract(MAIN, BASE)
    assert found.verdict == "improves"
    assert found.gain == pytest.approx(d.mean())
    # a one-sample one-sided t-test of d at 95 % has the same bound
    assert found.gain_low == pytest.approx(stats.ttest_1samp(d, 0, alternative="greater").confidence_interval(0.95).low)
    assert found.recovered == pytest.approx(d.mean() / c.mean())
    assert found.recovered_ci is not None
    interval = stats.ttest_1samp(d - found.recovered * c, 0).confidence_interval(0.95)
    assert found.recovered_ci[1] - found.recovered == pytest.approx(interval.high / c.mean())


@pytest.mark.parametrize(
    ("weight", "shift", "verdict"),
    [(2.0, -0.5, "improves"), (0.5, -0.5, "blends"), (1.1, 0.1, "no gain"), (1.1, 0.0, "no gain")],
)
def test_verdicts(weight: float, shift: float, verdict: str) -> None:
    assert compare(weight, BASE, MAIN, [m + shift for m in MAIN]).verdict == verdict


def test_what_the_seeds_cannot_tell_is_undecided() -> None:
    assert compare(1.5, BASE, MAIN, [m + e for m, e in zip(MAIN, [-1, 1, -1, 1, -1, 0.8], strict=True)]).verdict == (
        "undecided"
    )


def test_a_gain_below_a_twentieth_of_the_damage_is_none() -> None:
    assert compare(1.5, BASE, MAIN, [m - 0.03 for m in MAIN]).verdict == "no gain"
    assert compare(1.5, BASE, MAIN, [m - 0.08 for m in MAIN]).verdict == "improves"


def test_recovered_wants_damage() -> None:
    found = compare(1.5, BASE, BASE, BASE)
    assert found.recovered is None
    assert found.recovered_ci is None


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Over 2000 simulated studies, 95 % within Monte-Carlo error: √(0.95·0.05/2000) = 0.5 %."""
    rng, hits, n = np.random.default_rng(0), 0, 2000
    for _ in range(n):
        common = rng.normal(0, 0.1, 6)
        base, main, guided = (m + common + rng.normal(0, 0.03, 6) for m in (1.0, 2.0, 1.3))
        interval = compare(2.0, base, main, guided).recovered_ci
        assert interval is not None
        hits += interval[0] < 0.7 < interval[1]
    assert abs(hits / n - 0.95) < 4 * math.sqrt(0.95 * 0.05 / n)


def test_seed_sets_must_pair() -> None:
    with pytest.raises(Refused, match="at least 2"):
        compare(2.0, [1.0], [2.0], [1.5])
    with pytest.raises(Refused, match="paired"):
        compare(2.0, BASE, MAIN, BASE[:3])


def results(searched: dict[float, float], at: dict[float, float], low: float = 0.0):  # type: ignore[no-untyped-def]
    """A study of one pairing whose FDs are given: by weight in the search, and in the confirmation; base 1, main 2."""
    from study.records import Evaluation, Results, Task
    from study.specs import ConfirmSpec, PairingSpec, SearchSpec, StudySpec

    pairing = PairingSpec("a", "b")
    confirm = ConfirmSpec(samples=10, seed_sets=4, controls=False)
    search = SearchSpec(weight=(low, 3.0), design=(1.0,))
    spec = StudySpec("x", base="y", extractors=("e",), pairings=(pairing,), search=search, confirm=confirm)
    found = Results(spec, {pairing: []}, [])
    shared = [
        Evaluation(task, {"fd_e": value + 0.01 * task.seed})
        for value, tasks in [(1.0, found.alone("none")), (2.0, found.alone("a")), (4.0, found.alone("b")),
                             *((fd, found.guided(pairing, w)) for w, fd in at.items())]
        for task in tasks
    ]  # fmt: skip
    searches = [Evaluation(Task.guided(pairing, w, 0, 10, 32), {"fd_e": fd}) for w, fd in searched.items()]
    return Results(spec, {pairing: searches}, shared)


@pytest.mark.parametrize(
    ("searched", "at", "verdict", "weight", "fd"),
    [
        ({1.0: 2.0, 2.0: 1.1}, {2.0: 1.1}, "improves", 2.0, 1.125),
        ({1.0: 2.0, 0.0: 1.2}, {0.0: 1.2}, "blends", 0.0, 1.225),  # a weight of 0 is a weight
        ({1.0: 2.0, 2.0: 3.0}, {1.1: 2.1}, "no gain", 1.0, 2.025),
        ({1.0: 2.0, 2.0: 3.0}, {1.1: 1.5}, "undecided", 1.0, 2.025),  # the search preferred 1: 1.1 was not found by it
        ({1.0: 2.0, 2.0: 1.9}, {2.0: 2.5}, "no gain", 1.0, 2.025),  # the luckiest trial is not believed
    ],
)
def test_rows(searched: dict, at: dict, verdict: str, weight: float, fd: float) -> None:
    from study.report.table import FORMATS, render, rows

    table = rows(results(searched, at))
    assert (table[0]["verdict"], table[0]["weight"]) == (verdict, weight)
    assert table[0]["fd"] == pytest.approx(fd)
    assert table[0]["fd_base"] == pytest.approx(1.025)
    for form in FORMATS:
        assert verdict in render(table, form)


def test_rows_of_an_unfinished_study_are_undecided() -> None:
    from study.report.table import FORMATS, render, rows

    table = rows(results({1.0: 2.0}, {}))
    assert table[0]["verdict"] == "undecided"
    assert table[0]["recovered"] is None
    assert all(render(table, form) for form in FORMATS)
    with pytest.raises(Refused, match="fd_other"):
        rows(results({1.0: 2.0}, {}), "fd_other")
