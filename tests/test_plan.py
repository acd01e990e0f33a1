"""What a study wants next, driven by an evaluator that knows the answers, and by any number of
processes."""

import dataclasses
from pathlib import Path

import pytest

from degradations import RunError
from study.cli.main import call
from study.engine import schedule
from study.records.results import Results
from study.records.task import BASE, Outcome, Task
from study.specs import ConfirmSpec, SearchSpec
from tests.command_line import SMALL
from tests.known_answers import (
    ALIKE,
    SPEC,
    done_by,
    evaluate,
    in_order,
    is_stochastic,
    keep,
    nothing_known,
    tasks,
    whole,
)


def test_first_come_the_base_the_probes_and_the_single_denoisers() -> None:
    results = nothing_known()
    names = [BASE, "noise(0.2)", "noise(0.4)", "prune(0.4)"]
    singles = {task for name in names for task in results.confirmed_single(name)}
    double = {task for name in names[:2] for task in results.confirmed_single(name, double=True)}
    wanted = list(whole(results))
    assert wanted[:4] == [
        (None, results.single(BASE)),
        *((None, results.endpoints(p)) for p in SPEC.pairings),
    ]
    # the main on the search's seed, from which its rescaling is tuned
    controls = {*results.averaged("noise(0.2)"), results.single("noise(0.2)")}
    assert {task for _, task in wanted[4:]} == singles | double | controls
    assert len(wanted) == len(set(wanted))


def test_a_search_is_wanted_step_by_step_and_its_confirmation_when_it_has_ended() -> None:
    results = nothing_known(dataclasses.replace(SPEC, pairings=(ALIKE,)))
    taken = in_order(results)
    assert list(whole(results)) == []
    searched = [task.weight for pairing, task in taken if pairing is not None]
    assert searched == [1.0, 1.1, 0.9, 1.85, 2.1, 2.35]
    main = results.single(ALIKE.main)
    assert taken[:4] == [
        (None, results.single(BASE)),
        (None, results.endpoints(ALIKE)),
        (None, main),
        (ALIKE, main),
    ]
    confirmed = [
        task
        for pairing, task in taken
        if pairing is None and task.weight not in (0.5, 1) and not task.endpoint_probe
    ]
    (tested,) = results.tested(ALIKE)
    assert confirmed == results.confirmed(tested)
    assert taken.index((None, confirmed[0])) > max(
        i for i, (pairing, _) in enumerate(taken) if pairing
    )


def test_what_all_pairings_need_is_evaluated_once() -> None:
    results = nothing_known()
    taken = in_order(results)
    assert len(taken) == len(set(taken))
    assert taken.count((None, results.single("noise(0.2)"))) == 1
    assert {p: results.searches[p][0] for p in SPEC.pairings} == dict.fromkeys(
        SPEC.pairings, results.shared[results.single("noise(0.2)")]
    )


def test_without_controls_nothing_is_done_twice_as_dearly() -> None:
    results = nothing_known(
        dataclasses.replace(SPEC, confirm=ConfirmSpec(seed_sets=2, controls=False))
    )
    in_order(results)
    assert {task.steps for task in results.shared} == {10}
    assert 0.5 not in {task.weight for task in results.shared}


SEARCHES = [
    pytest.param(SearchSpec(samples=100), id="probe"),
    pytest.param(SearchSpec(samples=100, budget=90, tolerance=0.3), id="budget"),
    pytest.param(SearchSpec(samples=100, weight=(0.0, 3.5), screen=False), id="below 1"),
    pytest.param(SearchSpec(samples=100, method="gp", trials=5, interval=(0.1, 10.0)), id="gp"),
    pytest.param(SearchSpec(samples=100, method="grid", step=0.5), id="grid"),
]


@pytest.mark.parametrize("search", SEARCHES)
def test_any_number_of_workers_evaluate_the_same_in_any_order(search: SearchSpec) -> None:
    alone = nothing_known(dataclasses.replace(SPEC, search=search))
    in_order(alone)
    assert list(whole(alone)) == []
    assert all(alone.best_task(pairing) is not None for pairing in SPEC.pairings)
    for workers, seed in [(1, 0), (2, 1), (3, 2), (8, 3)]:
        together = done_by(workers, seed, nothing_known(alone.spec))
        assert tasks(together) == tasks(alone)


def test_a_study_that_is_stopped_anywhere_goes_on_the_same_way() -> None:
    undisturbed = nothing_known()
    taken = in_order(undisturbed)
    for stop in range(0, len(taken), 7):
        results = nothing_known()
        for wanted in taken[:stop]:
            keep(results, *wanted, evaluate)
        again = Results(
            SPEC, {p: list(found) for p, found in results.searches.items()}, dict(results.shared)
        )
        assert in_order(again) == taken[stop:]


@pytest.mark.parametrize("broken", ["noise(0.2)", "prune(0.4)", "guided", "endpoints", BASE])
def test_failed_evaluations_do_not_hold_a_study_up(broken: str) -> None:
    def fails(task: Task) -> bool:
        if broken in ("guided", "endpoints"):
            return (
                task.endpoint_probe
                if broken == "endpoints"
                else task.weight not in (0.5, 1) and not task.endpoint_probe
            )
        return task.weight == 1 and task.main == broken

    def some(task: Task) -> Outcome:
        if fails(task):
            raise RunError("not finite")
        return evaluate(task)

    alone = nothing_known()
    in_order(alone, evaluate=some)
    assert any(evaluation.reason for evaluation in [*alone.shared.values(), *alone.searches[ALIKE]])
    assert tasks(done_by(4, 0, nothing_known(), evaluate=some)) == tasks(alone)


@pytest.mark.parametrize(("controls", "off"), [(False, 0.0), (True, 0.15)])
def test_what_is_left_of_a_grid_is_what_it_takes(controls: bool, off: float) -> None:
    """At every moment, each metric's own confirmation included; the tuning of controls is usual."""
    search = SearchSpec(samples=100, method="grid", step=0.5)
    confirm = dataclasses.replace(SPEC.confirm, controls=controls)
    spec = dataclasses.replace(SPEC, search=search, confirm=confirm)
    results, ended = nothing_known(spec), schedule.Ended()
    lefts, spent = [schedule.left(results, is_stochastic, ended)], [0]
    while (wanted := next(schedule.study(results, is_stochastic, ended), None)) is not None:
        keep(results, *wanted, evaluate)
        lefts.append(schedule.left(results, is_stochastic, ended))
        pairing, task = wanted
        spent.append(spent[-1] + (task.cost if pairing is None or task.weight != 1 else 0))
    assert lefts[-1] == 0
    wholes = [left + done for left, done in zip(lefts, spent, strict=True)]
    assert wholes == pytest.approx([spent[-1]] * len(spent), rel=off)


def test_what_is_known_of_ended_searches_changes_nothing() -> None:
    ended: schedule.Ended = {}
    remembered = in_order(
        nothing_known(), lambda results: schedule.study(results, is_stochastic, ended)
    )
    assert remembered == in_order(nothing_known())
    assert set(ended) == set(SPEC.pairings)


def test_a_training_that_is_to_come_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until it is done."""
    argv = ["run", SMALL, "--base", "null", "--recipe.steps", "20", "--root", str(tmp_path)]
    assert call([*argv, "--plan"]) == 0
    assert "of training first: 20 steps of 256 samples" in capsys.readouterr().out
    assert call(["train", *argv[1:]]) == 0
    assert call([*argv, "--plan"]) == 0
    assert "of training first" not in capsys.readouterr().out
