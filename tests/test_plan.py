"""What a study wants next, driven by an evaluator that knows the answers, and by any number of
processes."""

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from degradations import RunError, kinds, parse
from study.engine import schedule
from study.records.results import Results
from study.records.task import BASE, Evaluation, Outcome, Task
from study.specs import (
    CalibrateSpec,
    ConfirmSpec,
    MatrixSpec,
    PairingSpec,
    SamplerSpec,
    SearchSpec,
    StudySpec,
)

ALIKE = PairingSpec("noise(0.2)", "noise(0.4)", "shared")
APART = PairingSpec("noise(0.2)", "noise(0.4)")
MIXED = PairingSpec("noise(0.2)", "prune(0.4)")
SPEC = StudySpec(
    "x",
    base="digits",
    pairings=(ALIKE, APART, MIXED),
    sampler=SamplerSpec(solver="euler", steps=10),
    search=SearchSpec(samples=100, trials=6),
    confirm=ConfirmSpec(samples=200, seed_sets=2),
)
Evaluate = Callable[[Task], Outcome]


def is_stochastic(name: str) -> bool:
    return "noise" in name


def damage(name: str) -> float:
    """FD relative to the base's: 1.5 at the strength 0.25 for most kinds; one that saturates at
    2."""
    if name == BASE:
        return 1.0
    strength: float = parse(name).strength  # type: ignore[attr-defined]
    ratio = 1 + 2 * strength
    return min(ratio, 2.0) if name.startswith("dropout") else ratio


def evaluate(task: Task) -> Outcome:
    """Guidance by the same kind is best at 1.8, or 2.1 with shared draws; by another at 0.7."""
    same = task.main.split("(")[0] == task.guide.split("(")[0]
    best = (2.1 if task.coupling == "shared" else 1.8) if same else 0.7
    if task.ends:
        return Outcome({"fd_pixels": 1.0, "endpoint_weight_fd_pixels": max(best - 0.25, 1.0)})
    bend = 0.0 if task.weight == 1 else (task.weight - best) ** 2 - (1 - best) ** 2
    fd = damage(task.main) * math.exp(bend) * (1 + 0.01 * task.seed) / task.steps
    tilt = 0.01 * (task.weight - 1)
    return Outcome(
        {"fd_pixels": fd}, {"fd_pixels": [fd * (1 + tilt * (-1) ** g) for g in range(10)]}
    )


def nothing_known(spec: StudySpec = SPEC) -> Results:
    return Results(spec, {pairing: [] for pairing in spec.pairings}, {})


def keep(results: Results, pairing: PairingSpec | None, task: Task, evaluate: Evaluate) -> None:
    """Evaluate as a worker does: weight 1 of a search is what is shared. Nothing may be evaluated
    twice."""
    if pairing is None:
        assert task not in results.shared
        try:
            results.shared[task] = Evaluation(task, evaluate(task))  # type: ignore[index]
        except RunError as failure:
            results.shared[task] = Evaluation(task, reason=str(failure))  # type: ignore[index]
        return
    found: list[Evaluation] = results.searches[pairing]  # type: ignore[assignment]
    assert task not in [e.task for e in found]
    if task.weight == 1:
        found.append(results.shared[task])
        return
    try:
        found.append(Evaluation(task, evaluate(task)))
    except RunError as failure:
        found.append(Evaluation(task, reason=str(failure)))


Stage = Callable[[Results], Iterator[schedule.Wanted]]


def whole(results: Results) -> Iterator[schedule.Wanted]:
    return schedule.study(results, is_stochastic)


def done_by(
    workers: int, seed: int, results: Results, stage: Stage = whole, evaluate: Evaluate = evaluate
) -> Results:
    """Workers that each take any task that is wanted and that nobody is at work on, and end in any
    order."""
    rng = random.Random(seed)
    at_work: list[schedule.Wanted] = []
    while True:
        free = [wanted for wanted in dict.fromkeys(stage(results)) if wanted not in at_work]
        if free and len(at_work) < workers and (not at_work or rng.random() < 0.6):
            at_work.append(rng.choice(free))
        elif at_work:
            keep(results, *at_work.pop(rng.randrange(len(at_work))), evaluate)
        else:
            return results


def in_order(
    results: Results, stage: Stage = whole, evaluate: Evaluate = evaluate
) -> list[schedule.Wanted]:
    """One worker that always takes the first task; returns what it took."""
    taken: list[schedule.Wanted] = []
    while (wanted := next(stage(results), None)) is not None:
        keep(results, *wanted, evaluate)
        taken.append(wanted)
    return taken


def tasks(results: Results) -> tuple[dict[PairingSpec, list[Task]], set[Task]]:
    """Of each search in order, of what is shared in none."""
    return {p: [e.task for e in found] for p, found in results.searches.items()}, set(
        results.shared
    )


def test_first_come_the_base_the_probes_and_the_single_denoisers() -> None:
    results = nothing_known()
    names = [BASE, "noise(0.2)", "noise(0.4)", "prune(0.4)"]
    singles = {task for name in names for task in results.alone(name)}
    double = {task for name in names[:2] for task in results.alone(name, double=True)}
    wanted = list(whole(results))
    assert wanted[:4] == [
        (None, results.single(BASE)),
        *((None, results.endpoints(p)) for p in SPEC.pairings),
    ]
    assert {task for _, task in wanted[4:]} == singles | double | set(
        results.averaged("noise(0.2)")
    )
    assert len(wanted) == len(set(wanted))


def test_a_search_is_wanted_step_by_step_and_its_confirmation_when_it_has_ended() -> None:
    results = nothing_known(dataclasses.replace(SPEC, pairings=(ALIKE,)))
    taken = in_order(results)
    assert list(whole(results)) == []
    searched = [task.weight for pairing, task in taken if pairing is not None]
    assert searched == [1.0, 1.85, 2.1, 1.6, 2.35, 2.05]
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
        if pairing is None and task.weight not in (0.5, 1) and not task.ends
    ]
    tested = results.tested(ALIKE)
    assert tested is not None
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
    assert all(alone.leader(pairing) is not None for pairing in SPEC.pairings)
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
                task.ends
                if broken == "endpoints"
                else task.weight not in (0.5, 1) and not task.ends
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
    assert len(found.pairings) == (len(calibrate.kinds) - 1) ** 2  # all but dropout


def test_what_is_calibrated_stays_so_when_more_is_known() -> None:
    spec = matrix(pairings=(PairingSpec("noise(0.25)", "noise(0.7)"),))
    results = done_by(1, 0, nothing_known(spec), schedule.calibration)
    found = schedule.expand(results)
    assert found is not None
    searched = Results(found, {pairing: [] for pairing in found.pairings}, dict(results.shared))
    in_order(searched)
    assert schedule.expand(Results(spec, {}, searched.shared)) == found


def test_a_pairing_of_tested_kinds_is_searched_whatever_its_probe_says() -> None:
    """The probe says 1 of pairings of unlike kinds, whose FD rises from there: only what is tested
    goes on."""
    calibrate = CalibrateSpec(kinds=("noise", "prune", "sigma"), levels=(1.5, 2.5))
    spec = expanded(matrix(calibrate=calibrate, matrix=MatrixSpec(tested=("noise", "prune"))))
    results = nothing_known(spec)
    in_order(results)
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
            assert weights == ([1.0, 1.1] if "sigma" in (main, guide) else [1.0, 1.1, 1.5, 2.0])
            tested = results.tested(pairing)
            assert tested is not None
            assert tested.weight == 1.1
        else:
            assert len(weights) > 4


def test_what_is_left_of_a_grid_is_what_it_takes() -> None:
    """At every moment, controls and each metric's own confirmation included."""
    search = SearchSpec(samples=100, method="grid", step=0.5)
    results, ended = (
        nothing_known(dataclasses.replace(SPEC, search=search)),
        dict[PairingSpec, list[Task]](),
    )
    lefts, spent = [schedule.left(results, is_stochastic, ended)], [0]
    while (wanted := next(schedule.study(results, is_stochastic, ended), None)) is not None:
        keep(results, *wanted, evaluate)
        lefts.append(schedule.left(results, is_stochastic, ended))
        pairing, task = wanted
        spent.append(spent[-1] + (task.cost if pairing is None or task.weight != 1 else 0))
    assert lefts[-1] == 0
    assert [left + done for left, done in zip(lefts, spent, strict=True)] == [spent[-1]] * len(
        spent
    )


def test_what_is_known_of_ended_searches_changes_nothing() -> None:
    ended: dict[PairingSpec, list[Task]] = {}
    remembered = in_order(
        nothing_known(), lambda results: schedule.study(results, is_stochastic, ended)
    )
    assert remembered == in_order(nothing_known())
    assert set(ended) == set(SPEC.pairings)
