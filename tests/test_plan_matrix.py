"""What a matrix wants calibrated, and the pairings that it becomes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest

from degradations import kinds
from study.engine import schedule
from study.records.results import Results
from study.records.task import BASE, Outcome, Task
from study.specs import CalibrateSpec, MatrixSpec, PairingSpec, StudySpec
from tests.known_answers import (
    MIXED,
    SPEC,
    damage,
    done_by,
    evaluate,
    in_order,
    keep,
    nothing_known,
)


def matrix(**changed: Any) -> StudySpec:
    """A study of the pairings of three kinds, of which dropout reaches the first level alone."""
    calibrate = CalibrateSpec(kinds=("dropout", "noise", "prune"), levels=(1.5, 2.5))
    given = {"pairings": (), "calibrate": calibrate, "matrix": MatrixSpec(), **changed}
    return dataclasses.replace(SPEC, **given)


def expanded(spec: StudySpec, workers: int = 1, seed: int = 0) -> StudySpec:
    results = done_by(workers, seed, nothing_known(spec), schedule.calibration)
    found = schedule.expand(results)
    assert found is not None
    return found


def ends(pairings: Sequence[PairingSpec]) -> list[tuple[str, str]]:
    return [(pairing.main.split("(")[0], pairing.guide.split("(")[0]) for pairing in pairings]


def test_a_matrix_pairs_every_calibrated_kind_with_every_other() -> None:
    """And leaves out those that do not reach a level."""
    found = expanded(matrix())
    assert ends(found.pairings) == [
        ("noise", "noise"),
        ("noise", "prune"),
        ("prune", "noise"),
        ("prune", "prune"),
    ]
    for pairing in found.pairings:
        assert pairing.coupling == "shared"
        assert damage(pairing.main) == pytest.approx(1.5, rel=0.05)
        assert damage(pairing.guide) == pytest.approx(2.5, rel=0.05)
    assert dataclasses.replace(found, pairings=()) == matrix()


def test_a_matrix_may_hold_the_base_and_stands_after_what_is_given() -> None:
    found = expanded(matrix(pairings=(MIXED,), matrix=MatrixSpec("independent", clean=True)))
    assert found.pairings[0] == MIXED
    assert [pairing.main for pairing in found.pairings[1:3]] == [BASE, BASE]
    assert ends(found.pairings[1:3]) == [(BASE, "noise"), (BASE, "prune")]
    assert len(found.pairings) == 1 + 2 + 4
    assert {pairing.coupling for pairing in found.pairings} == {"independent"}
    given = expanded(matrix()).pairings[2]
    assert expanded(matrix(pairings=(given,))).pairings[0] == given
    assert len(expanded(matrix(pairings=(given,))).pairings) == 4  # not a second time


def test_nothing_is_expanded_before_all_is_calibrated() -> None:
    results = nothing_known(matrix())
    assert list(schedule.calibration(results)) == [(None, results.single(BASE))]
    steps = 0
    while (wanted := next(schedule.calibration(results), None)) is not None:
        assert schedule.expand(results) is None
        keep(results, *wanted, evaluate)
        if steps == 0:
            first = [f"{kind}(0.1)" for kind in ("dropout", "noise", "prune")]
            assert [task.main for _, task in schedule.calibration(results)] == first
        steps += 1
    assert schedule.expand(results) is not None
    assert schedule.expand(nothing_known()) == SPEC  # without a matrix there is nothing to wait for


def test_a_calibration_is_the_same_by_any_number_of_workers() -> None:
    assert {
        expanded(matrix(), workers, seed) for workers, seed in [(1, 0), (2, 1), (3, 2), (5, 3)]
    } == {expanded(matrix())}


def test_a_matrix_of_all_kinds_finds_them_all() -> None:
    calibrate = CalibrateSpec(
        kinds=tuple(name for name in kinds() if kinds()[name].rises), levels=(1.3, 2.5)
    )
    found = expanded(matrix(calibrate=calibrate))
    # all but dropout, and windows, whose strength ends before its damage is high enough
    assert len(found.pairings) == (len(calibrate.kinds) - 2) ** 2


def test_what_is_calibrated_stays_so_when_more_is_known() -> None:
    spec = matrix(pairings=(PairingSpec("noise(0.25)", "noise(0.7)"),))
    results = done_by(1, 0, nothing_known(spec), schedule.calibration)
    found = schedule.expand(results)
    assert found is not None
    searched = Results(found, {pairing: [] for pairing in found.pairings}, dict(results.shared))
    in_order(searched)
    assert schedule.expand(Results(spec, {}, searched.shared)) == found


def test_a_pairing_of_tested_kinds_is_searched_whatever_its_probe_says() -> None:
    """The probe says 1 of pairings of unlike kinds, whose FD rises on both sides: only what is
    tested goes on."""

    def flat(task: Task) -> Outcome:
        same = task.main.split("(")[0] == task.guide.split("(")[0]
        if same or task.weight == 1 or task.endpoint_probe:
            return evaluate(task)
        found = evaluate(Task.single(task.main, task.seed, task.samples, task.steps))
        bend = math.exp((task.weight - 1) ** 2)
        scores = {key: bend * value for key, value in found.scores.items()}
        replicates = {key: [bend * v for v in each] for key, each in found.replicates.items()}
        return Outcome(scores, replicates)

    calibrate = CalibrateSpec(kinds=("noise", "prune", "sigma"), levels=(1.5, 2.5))
    spec = expanded(matrix(calibrate=calibrate, matrix=MatrixSpec(tested=("noise", "prune"))))
    results = nothing_known(spec)
    in_order(results, evaluate=flat)
    unlike = {
        ("noise", "prune"),
        ("prune", "noise"),
        ("noise", "sigma"),
        ("sigma", "noise"),
        ("prune", "sigma"),
        ("sigma", "prune"),
    }
    for pairing, (main, guide) in zip(spec.pairings, ends(spec.pairings), strict=True):
        weights = [e.task.weight for e in results.searches[pairing]]
        if (main, guide) in unlike:
            more = [] if "sigma" in (main, guide) else [1.5, 2.0, 0.5]
            assert weights == [1.0, 1.1, 0.9, *more]
            assert [task.weight for task in results.tested(pairing)] == [1.1, 0.9]
        else:
            assert len(weights) > 4
