"""What the methods gp and grid propose in their spaces, and on what a proposal depends."""

import dataclasses
import random
from typing import Any

import numpy as np
import optuna
import pytest

from degradations import InputError, Interval, parse, parse_rule
from study.records.task import Evaluation, Outcome, Task
from study.search import distributions, parameters, propose
from study.search.propose import _task
from study.specs import PairingSpec, SearchSpec
from tests.searches import PAIRING, begun, best_of, failing, searched, valley, weights

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

    probe, design = SearchSpec(), (1.0, 1.5, 2.0, 2.5)
    gp = SearchSpec(method="gp", weight=(1.0, 3.5), design=design, interval=(0.1, 10.0))
    assert evaluated(probe, 0) == evaluated(probe, 1)
    assert evaluated(gp, 0)[:4] == evaluated(gp, 1)[:4]  # the design
    assert evaluated(gp, 0) != evaluated(gp, 1)


def test_the_grid_is_every_weight_whatever_the_trials() -> None:
    spec = SearchSpec(method="grid", weight=(0.5, 2.0), step=0.25, trials=2, design=())
    found = searched(spec, failing(valley(1.3), 1.25))
    assert weights(found) == spec.weights == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert best_of(found) == 1.5  # of those that succeeded the least: without a parabola


@pytest.mark.parametrize("best", [1.35, 1.75, 2.1, 2.9])
def test_a_gaussian_process_finds_the_least_of_a_smooth_curve(best: float) -> None:
    found = searched(SearchSpec(method="gp", trials=8), valley(best))
    assert weights(found)[:5] == [1.0, 1.1, 0.9, 1.5, 2.25]
    assert best_of(found) == pytest.approx(best, abs=0.15)


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
        # rejects what is not within
        optuna.create_trial(params=params, distributions=space, value=0.0)
        assert task.weight in spec.weights
        assert params["weight"] == task.weight
        if task.weight == 1:
            assert task == results.single(PAIRING.main)
            continue
        guides.add(task.guide)
        if number >= len(spec.design):
            assert _task(results, PAIRING, params) == task
            (part,) = parse_rule(task.rule).parts
            assert isinstance(part, Interval) == (spec.interval is not None)
        (rule,) = parse_rule(task.rule).parts
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


def test_a_grid_that_steps_over_1_is_rejected() -> None:
    with pytest.raises(InputError, match=r"search.weight: .*steps of 0.3"):
        SearchSpec(weight=(0.5, 3.5), step=0.3)
