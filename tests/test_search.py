"""What a search evaluates, on curves that are known; and the storage that keeps what it found."""

import dataclasses
import math
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest

from degradations import InputError, Interval, RunError, parse, parse_rule
from study.records.results import Results
from study.records.task import Evaluation, Outcome, Task, interval
from study.search import (
    Store,
    check_fingerprint,
    distributions,
    existing_storage,
    forget,
    names,
    open_storage,
    parameters,
    propose,
    spent,
)
from study.search.propose import _task
from study.specs import PairingSpec, SamplerSpec, SearchSpec, StudySpec

PAIRING = PairingSpec("noise(0.2)", "noise(0.4)", "shared")
TASK = Task.alone("none", 0, 100, 8)
LONG = SearchSpec(trials=30)
Curve = Callable[[float], float | None]


def valley(best: float, spread: float = 0.02) -> Callable[[float], Outcome]:
    """log FD = (w − best)², whose ten replicates have their least at best ± spread."""
    vertices = [best, *(best + spread * (-1) ** group for group in range(10))]

    def outcome(weight: float) -> Outcome:
        fd, *replicates = (math.exp((weight - vertex) ** 2) for vertex in vertices)
        return Outcome({"fd_pixels": fd}, {"fd_pixels": replicates})

    return outcome


def begun(
    spec: SearchSpec, endpoint: float | None = None, pairing: PairingSpec = PAIRING
) -> Results:
    """A study of which only the endpoint probe is known; None: it failed."""
    sampler = SamplerSpec(solver="euler", steps=10)
    study = StudySpec("x", base="digits", sampler=sampler, search=spec, pairings=(pairing,))
    results = Results(study, {pairing: []}, {})
    probe = results.endpoints(pairing)
    scores = {} if endpoint is None else {"endpoint_weight_fd_pixels": endpoint}
    return dataclasses.replace(results, shared={probe: Evaluation(probe, Outcome(scores))})


def searched(
    spec: SearchSpec,
    outcome: Callable[[float], Outcome],
    endpoint: float | None = None,
    screen: bool = True,
    pairing: PairingSpec = PAIRING,
) -> Results:
    """A search that went on until it ended of itself."""
    results = begun(spec, endpoint, pairing)
    found: list[Evaluation] = results.searches[pairing]  # type: ignore[assignment]
    while (task := propose(results, pairing, screen)) is not None:
        assert task not in [e.task for e in found]  # nothing is evaluated twice
        found.append(Evaluation(task, outcome(task.weight)))
    return results


def weights(results: Results, pairing: PairingSpec = PAIRING) -> list[float]:
    return [e.task.weight for e in results.searches[pairing]]


def leader(results: Results) -> float:
    task = results.leader(PAIRING)
    assert task is not None
    return task.weight


def test_the_probe_s_weight_comes_after_1_then_its_neighbours_then_the_parabola_s_least() -> None:
    """The endpoint probe is low by a quarter, and here exactly: its upper neighbour has the
    least."""
    found = searched(LONG, valley(1.85), endpoint=1.6)
    assert weights(found) == [1.0, 1.6, 1.85, 1.35, 2.1, 1.8, 1.9]
    assert leader(found) == 1.85


@pytest.mark.parametrize("best", [1.3, 1.62, 1.75, 2.1, 2.45, 2.9])
def test_six_evaluations_find_the_least(best: float) -> None:
    found = searched(SearchSpec(), valley(best), endpoint=best - 0.25)
    assert len(weights(found)) <= 6
    assert leader(found) == pytest.approx(best, abs=0.025 + 1e-9)  # half a step


@pytest.mark.parametrize(
    ("best", "endpoint", "expected"),
    [
        (2.1, 1.25, [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.1, 2.05, 2.15]),
        # the range ends before another quarter
        (3.4, 2.9, [1.0, 2.9, 3.15, 2.65, 3.4, 3.5, 3.35, 3.45]),
        (9.0, 3.0, [1.0, 3.0, 3.25, 2.75, 3.5, 3.45]),  # the least is at the end of the range
    ],
)
def test_a_search_goes_outwards_until_the_least_is_bracketed(
    best: float, endpoint: float, expected: list[float]
) -> None:
    found = searched(LONG, valley(best), endpoint)
    assert weights(found) == expected
    assert leader(found) == min(best, 3.5)


@pytest.mark.parametrize(
    ("best", "endpoint", "expected"),
    [
        (0.6, 0.35, [1.0, 0.35, 0.6, 0.1, 0.55, 0.65]),
        (0.3, 0.75, [1.0, 0.75, 0.5, 0.25, 0.0, 0.3, 0.35]),
        (-2.0, 0.2, [1.0, 0.2, 0.45, 0.0, 0.05]),
        # a probe on the wrong side of 1
        (1.45, 0.8, [1.0, 0.8, 1.05, 0.55, 1.3, 1.55, 1.8, 1.45, 1.4, 1.5]),
    ],
)
def test_in_a_range_below_1_the_least_may_be_there(
    best: float, endpoint: float, expected: list[float]
) -> None:
    found = searched(SearchSpec(weight=(0.0, 3.5), trials=30), valley(best), endpoint)
    assert weights(found) == expected
    assert leader(found) == pytest.approx(max(best, 0))


@pytest.mark.parametrize(("tolerance", "expected"), [(0.4, 4), (0.3, 5), (0.25, 7)])
def test_a_search_stops_where_the_interval_is_narrow(tolerance: float, expected: int) -> None:
    """Vertices ± 0.02 make an interval 2·t₉·3·0.02 = 0.271 wide, once the least is bracketed: here
    after five.

    Before, after four evaluations, the least is at their end, and the interval infinite.
    """
    spec = dataclasses.replace(LONG, tolerance=tolerance)
    bracketed = 4 if expected == 4 else 5
    found = searched(spec, valley(1.6 if bracketed == 4 else 1.85), endpoint=1.6)
    assert len(weights(found)) == expected
    best = found.best(PAIRING, "fd_pixels")
    assert best is not None
    assert (best.high - best.low < tolerance) == (expected < 7)
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
    """The probe says 1, and FD rises from there; unless it is to be searched all the same."""
    found = searched(LONG, valley(0.5), endpoint=1.0)
    assert weights(found) == [1.0, 1.1]
    assert leader(found) == 1
    # so near to 1 that 1.1 tells as much
    assert weights(searched(LONG, valley(0.5), endpoint=1.05)) == [1.0, 1.1]
    assert weights(searched(LONG, valley(0.5), endpoint=1.0, screen=False)) == [1.0, 1.1, 1.5, 2.0]
    assert weights(searched(LONG, valley(0.5), endpoint=1.15)) != [1.0, 1.1]


@pytest.mark.parametrize("screen", [True, False])
@pytest.mark.parametrize(
    ("best", "spread"), [(1.6, 0.02), (1.04, 0.2)], ids=["falls", "cannot be told"]
)
def test_a_pairing_that_may_gain_is_searched_although_the_probe_says_1(
    best: float, spread: float, screen: bool
) -> None:
    found = searched(LONG, valley(best, spread), endpoint=1.0, screen=screen)
    assert weights(found)[:4] == [1.0, 1.1, 1.25, 1.5]
    assert leader(found) == pytest.approx(best, abs=0.025)


def failing(outcome: Callable[[float], Outcome], *where: float) -> Callable[[float], Outcome]:
    return lambda weight: Outcome() if weight in where else outcome(weight)


@pytest.mark.parametrize("step", [0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("endpoint", "best"), [(1.0, 2.0), (1.5, 3.0), (2.0, 2.5)])
def test_a_coarse_step_is_searched_all_the_same(step: float, endpoint: float, best: float) -> None:
    found = searched(dataclasses.replace(LONG, step=step), valley(best), endpoint=endpoint)
    assert leader(found) == pytest.approx(best, abs=step / 2)


@pytest.mark.parametrize("endpoint", [1.0, 0.9])
def test_screening_looks_below_1_where_the_range_does(endpoint: float) -> None:
    found = searched(dataclasses.replace(LONG, weight=(0.0, 3.5)), valley(0.8), endpoint=endpoint)
    assert weights(found)[:3] == [1.0, 1.1, 0.9]
    assert found.leader(PAIRING).weight == pytest.approx(0.8, abs=0.05)  # type: ignore[union-attr]
    assert weights(
        searched(dataclasses.replace(LONG, weight=(0.0, 3.5)), valley(1.0, 0.0), endpoint=endpoint)
    ) == [1.0, 1.1, 0.9]


@pytest.mark.parametrize(
    "where", [(1.0,), (1.6,), (1.85,), (1.35,), (2.1,), (1.6, 1.85), (1.0, 1.6, 1.35)]
)
@pytest.mark.parametrize("screen", [True, False])
def test_failed_evaluations_do_not_lead_astray(where: tuple[float, ...], screen: bool) -> None:
    found = searched(LONG, failing(valley(1.85), *where), endpoint=1.6, screen=screen)
    assert {1.0, 1.6, 1.85, 1.35} <= set(weights(found))
    succeeded = [e.task.weight for e in found.searches[PAIRING] if e.scores]
    if len(succeeded) >= 3:
        assert leader(found) == pytest.approx(1.85, abs=0.025)
    assert leader(found) not in where or leader(found) == 1.85


def test_a_search_in_which_all_fails_ends() -> None:
    for endpoint in (None, 1.0, 1.6):
        found = searched(LONG, lambda weight: Outcome(), endpoint)
        assert len(weights(found)) <= 4
        assert (found.leader(PAIRING), found.tested(PAIRING)) == (None, None)


def test_a_failed_probe_is_as_one_that_says_1() -> None:
    assert weights(searched(LONG, valley(1.6), None)) == weights(searched(LONG, valley(1.6), 1.0))


SPACES = [
    pytest.param(SearchSpec(trials=7), id="probe"),
    pytest.param(SearchSpec(method="grid", step=0.5), id="grid"),
    pytest.param(SearchSpec(method="gp", trials=6), id="gp"),
    pytest.param(SearchSpec(method="gp", trials=7, interval=(0.1, 10.0)), id="interval"),
    pytest.param(
        SearchSpec(method="gp", trials=7, interval=(0.1, 10.0), strength=(0.3, 0.8)), id="strength"
    ),
    pytest.param(
        SearchSpec(method="gp", trials=7, guides=("noise(0.6)", "dropout(0.5)")), id="guides"
    ),
]


@pytest.mark.parametrize("spec", SPACES)
def test_a_proposal_depends_on_what_is_known_alone(spec: SearchSpec) -> None:
    first = searched(spec, valley(1.8), endpoint=1.5)
    np.random.seed(1)
    random.seed(1)
    again = begun(spec, endpoint=1.5)
    for evaluation in first.searches[PAIRING]:
        assert propose(again, PAIRING) == evaluation.task
        task = Task.of(evaluation.task.as_dict())
        again.searches[PAIRING].append(Evaluation(task, evaluation.outcome, number=7))  # type: ignore[attr-defined]
    assert propose(again, PAIRING) is None


def test_a_proposal_depends_on_the_study_s_seed_only_where_it_is_random() -> None:
    def evaluated(spec: SearchSpec, seed: int) -> list[dict[str, Any]]:
        results = begun(spec, endpoint=1.5)
        results = dataclasses.replace(results, spec=dataclasses.replace(results.spec, seed=seed))
        probe = results.endpoints(PAIRING)
        outcome = Outcome({"endpoint_weight_fd_pixels": 1.5})
        results = dataclasses.replace(results, shared={probe: Evaluation(probe, outcome)})
        while (task := propose(results, PAIRING)) is not None:
            results.searches[PAIRING].append(Evaluation(task, valley(1.8)(task.weight)))  # type: ignore[attr-defined]
        return [{**e.task.as_dict(), "seed": None} for e in results.searches[PAIRING]]

    probe, gp = SearchSpec(), SearchSpec(method="gp", interval=(0.1, 10.0))
    assert evaluated(probe, 0) == evaluated(probe, 1)
    assert evaluated(gp, 0)[:4] == evaluated(gp, 1)[:4]  # the design
    assert evaluated(gp, 0) != evaluated(gp, 1)


def test_the_grid_is_every_weight_whatever_the_trials() -> None:
    spec = SearchSpec(method="grid", weight=(0.5, 2.0), step=0.25, trials=2, design=())
    found = searched(spec, failing(valley(1.3), 1.25))
    assert weights(found) == spec.weights == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert leader(found) == 1.5  # of those that succeeded the least: without a parabola


@pytest.mark.parametrize("best", [1.35, 1.75, 2.1, 2.9])
def test_a_gaussian_process_finds_the_least_of_a_smooth_curve(best: float) -> None:
    found = searched(SearchSpec(method="gp"), valley(best))
    assert weights(found)[:4] == [1.0, 1.5, 2.0, 2.5]
    assert leader(found) == pytest.approx(best, abs=0.15)


def test_a_gaussian_process_tries_no_weight_twice_and_ends() -> None:
    spec = SearchSpec(method="gp", weight=(1.0, 1.5), step=0.1, design=(1.0, 1.02), trials=30)
    assert sorted(weights(searched(spec, valley(1.2)))) == pytest.approx(
        [1, 1.1, 1.2, 1.3, 1.4, 1.5]
    )


@pytest.mark.parametrize("spec", SPACES[2:])
def test_what_a_gaussian_process_proposes_is_in_its_space(spec: SearchSpec) -> None:
    """And its parameters are the task's: they say the same both ways, and Optuna takes them for its
    trials."""
    results, space = searched(spec, valley(1.8)), distributions(spec, PAIRING)
    guides: set[str] = set()
    for number, task in enumerate(e.task for e in results.searches[PAIRING]):
        params = parameters(spec, PAIRING, task)
        # refuses what is not within
        optuna.create_trial(params=params, distributions=space, value=0.0)
        assert task.weight in spec.weights
        assert params["weight"] == task.weight
        if task.weight == 1:
            assert task == results.single(PAIRING.main)
            continue
        guides.add(task.guide)
        if number >= len(spec.design):
            assert _task(results, PAIRING, params) == task
            assert isinstance(parse_rule(task.rule), Interval) == (spec.interval is not None)
        rule = parse_rule(task.rule)
        if isinstance(rule, Interval) and spec.interval:
            assert spec.interval[0] <= rule.low <= rule.high <= spec.interval[1]
        if spec.strength:
            assert spec.strength[0] <= parse(task.guide).strength <= spec.strength[1]  # type: ignore[attr-defined]
    if spec.guides:
        assert guides <= {PAIRING.guide, *spec.guides}
    assert (len(guides) == 1) == (not spec.strength and not spec.guides)


def test_an_interval_s_ends_are_sorted_and_rounded() -> None:
    results = begun(SearchSpec(method="gp", interval=(0.1, 10.0)))
    task = _task(results, PAIRING, {"weight": 2.0, "sigma_a": 3.00004, "sigma_b": 0.2})
    assert task == dataclasses.replace(results.searched(PAIRING, 2.0), rule="interval(0.2, 3)")
    assert _task(
        results, PAIRING, {"weight": 1.0, "sigma_a": 3.0, "sigma_b": 0.2}
    ) == results.single(PAIRING.main)


def test_a_searched_strength_keeps_the_guide_s_options() -> None:
    pairing = PairingSpec("turned(1)", "turned(2, angle=30)")
    results = begun(SearchSpec(method="gp", strength=(1.0, 4.0)), pairing=pairing)
    assert _task(results, pairing, {"weight": 2.0, "strength": 3.0}).guide == "turned(3, angle=30)"


def test_a_grid_that_steps_over_1_is_refused() -> None:
    with pytest.raises(InputError, match=r"search.weight: .* holds 1 in steps of 0.3"):
        SearchSpec(weight=(0.5, 3.5), step=0.3)


def known(*found: tuple[float, Outcome]) -> Results:
    results = begun(LONG)
    evaluations = [
        Evaluation(results.searched(PAIRING, weight), outcome) for weight, outcome in found
    ]
    return dataclasses.replace(results, searches={PAIRING: evaluations})


def test_the_leader_is_the_parabola_s_least_on_the_grid_and_1_where_1_is_least() -> None:
    found = known(*((weight, valley(1.72)(weight)) for weight in (1.0, 1.5, 2.0)))
    assert leader(found) == 1.7
    tested = found.tested(PAIRING)
    assert tested == found.searched(PAIRING, 1.7)
    assert [(t.weight, t.seed) for t in found.confirmed(tested)] == [
        (1.7, seed) for seed in range(1, 7)
    ]
    for best in (0.9, 1.2):  # also where the parabola would have it elsewhere
        found = known(*((weight, valley(best)(weight)) for weight in (1.0, 1.5, 2.0)))
        assert (leader(found), found.tested(PAIRING)) == (1, found.searched(PAIRING, 1.1))
    found = known((1.0, valley(2.0)(1.0)), (1.5, valley(2.0)(1.5)))
    assert leader(found) == 1.5  # too few for a parabola: the least tried


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
    assert leader(found) == 1.7
    other = found.leader(PAIRING, "fd_other")
    assert other is not None
    assert other.weight == pytest.approx(2.2, abs=0.05)
    assert found.leader(PAIRING, "fd_missing") is None


def store(root: Path, name: str = "a/confirm") -> Store:
    return Store(open_storage(root), name)


OUTCOME = Outcome(
    scores={"fd_pixels": 0.1 + 0.2, "kd_pixels": -1e-300, "endpoint_weight_fd_pixels": 1.75},
    replicates={"fd_pixels": [1 / 3, math.pi, 5e-324, 1.7976931348623157e308]},
    curve={"weight": [1.0, 1.05], "fd_pixels": [2 / 3, 0.1]},
    evaluations=2**53 - 1,
)
GUIDED = Task(
    "none", "noise(0.4)", "shared", 1.1500000000000001, 3, 100, 8, rule=interval(0.1 + 0.2, 1e2 / 3)
)


@pytest.mark.parametrize("task", [TASK, GUIDED, Task.endpoints(PAIRING, 0, 100, 8)])
def test_an_outcome_is_kept_to_the_last_bit(tmp_path: Path, task: Task) -> None:
    with store(tmp_path).claim(task, "fd_pixels") as claim:
        assert claim is not None
        claim.keep(OUTCOME)
    (found,) = Store(existing_storage(tmp_path), "a/confirm").evaluations()
    assert (found.task, found.outcome, found.reason, found.number) == (task, OUTCOME, "", 0)
    assert hash(found.task) == hash(task)
    assert found.started <= found.ended
    assert found.owner == socket.gethostname()


def test_a_failed_evaluation_is_kept_with_its_reason_and_not_made_again(tmp_path: Path) -> None:
    book = store(tmp_path)
    with book.claim(TASK, "fd"):
        raise RunError("not finite")
    (found,) = book.evaluations()
    assert (found.task, found.scores, found.reason) == (TASK, {}, "not finite")
    with book.claim(TASK, "fd") as again:
        assert again is None


def test_of_two_claims_the_second_gets_nothing(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path)
    with first.claim(TASK, "fd") as one:
        assert one is not None
        assert second.running() == {TASK}
        with second.claim(TASK, "fd") as other:
            assert other is None
        with second.claim(GUIDED, "fd") as elsewhere:  # another task is free
            assert elsewhere is not None
            elsewhere.keep(Outcome({"fd": 1.0}))
        one.keep(Outcome({"fd": 2.0}))
    with second.claim(TASK, "fd") as late:
        assert late is None
    assert second.running() == set()
    assert {e.task: e.scores["fd"] for e in second.evaluations()} == {TASK: 2.0, GUIDED: 1.0}


def test_processes_that_claim_at_once_share_the_tasks_out(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from study.records.task import *; from study.search "
        "import *\n"
        "n = Store(open_storage(Path(sys.argv[1])), 'a/confirm')\n"
        "print('ready', flush=True); input()\n"
        "for seed in range(5):\n"
        "    with n.claim(Task.alone('none', seed, 100, 8), 'fd') as claim:\n"
        "        if claim: claim.keep(Outcome({'fd': float(seed)}))\n"
    )
    book, command = store(tmp_path), [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 2
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert [e.scores["fd"] for e in book.evaluations()] == list(range(5))


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def begin_as(owner: dict[str, Any], book: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a claim of the task as if another process had made it."""
    with monkeypatch.context() as patch:
        patch.setattr("study.search.store.this_process", lambda: owner)
        book._begin(TASK, {}, {})


@pytest.mark.parametrize(
    "pid", [ended_process, os.getpid], ids=["ended", "its number has been given to another"]
)
def test_the_claim_of_a_dead_process_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid: Callable[[], int]
) -> None:
    book = store(tmp_path)
    owner = {
        "host": socket.gethostname(),
        "pid": pid(),
        "start": psutil.Process().create_time() - 1000,
    }
    begin_as(owner, book, monkeypatch)
    assert book.running() == set()
    with book.claim(TASK, "fd") as claim:  # free before it is released
        assert claim is not None
        assert book.running() == {TASK}
        assert book.release_lost() == 1  # the dead one, not this one
        assert book.release_lost() == 0
        claim.keep(Outcome({"fd": 2.0}))
    assert [e.scores for e in book.evaluations()] == [{"fd": 2.0}]


def test_the_claim_of_another_machine_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = store(tmp_path)
    begin_as({"host": "elsewhere", "pid": ended_process(), "start": 0.0}, book, monkeypatch)
    assert (book.running(), book.release_lost()) == ({TASK}, 0)
    with book.claim(TASK, "fd") as claim:
        assert claim is None


def test_the_claim_of_a_killed_process_is_released(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from study.search import *; from "
        "tests.test_search import TASK\n"
        "n = Store(open_storage(Path(sys.argv[1])), 'a/confirm')\n"
        "with n.claim(TASK, 'fd'): os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    book = store(tmp_path)
    with book.claim(Task.alone("none", 1, 100, 8), "fd") as claim:
        assert claim is not None
        assert book.release_lost() == 1  # the dead one, not the one of this process
        claim.keep(Outcome({"fd": 2.0}))
    assert [e.scores for e in book.evaluations()] == [{"fd": 2.0}]


@pytest.mark.parametrize("how", [KeyboardInterrupt, RuntimeError, None])
def test_an_interrupted_evaluation_counts_for_nothing(
    tmp_path: Path, how: type[BaseException] | None
) -> None:
    book = store(tmp_path)
    if how is None:
        with book.claim(TASK, "fd"):
            pass  # keeps nothing
    else:
        with pytest.raises(how), book.claim(TASK, "fd"):
            raise how
    assert (book.evaluations(), book.running(), book.release_lost()) == ([], set(), 0)
    with book.claim(TASK, "fd") as again:
        assert again is not None
        again.keep(Outcome({"fd": 1.0}))
    assert len(book.evaluations()) == 1


def test_a_changed_study_is_refused_by_key(tmp_path: Path) -> None:
    book = store(tmp_path)
    check_fingerprint(book, {"sampler.steps": 8, "seed": 0})
    check_fingerprint(book, {"seed": 0, "sampler.steps": 8})
    with pytest.raises(InputError, match=r"sampler.steps: 8 then, 16 now") as refused:
        check_fingerprint(book, {"sampler.steps": 16, "seed": 0})
    assert "seed" not in str(refused.value).split("\n")[1]


def test_forgetting_leaves_other_studies(tmp_path: Path) -> None:
    database = open_storage(tmp_path)
    for name in ("a/confirm", "a/x", "ab/confirm"):
        Store(database, name)
    assert sorted(names(database, "a")) == ["a/confirm", "a/x"]
    forget(database, "a")
    assert names(database) == ["ab/confirm"]


def test_reading_does_not_make_a_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no studies here"):
        existing_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_determines_no_score_yet_may_change(tmp_path: Path) -> None:
    book = store(tmp_path)
    check_fingerprint(book, {"seed": 0})
    check_fingerprint(book, {"seed": 1}, begun=False)
    check_fingerprint(book, {"seed": 1})
    with pytest.raises(InputError, match="seed: 1 then, 0 now"):
        check_fingerprint(book, {"seed": 0})
