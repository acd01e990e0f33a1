"""What the methods gp and grid propose in their spaces, and on what a proposal depends."""

import dataclasses
import random
from typing import Any

import numpy as np
import optuna
import pytest

from degradations import InputError, Interval, parse, parse_rule
from study.records.task import Evaluation, Outcome, Task
from study.search import check_over, distributions, parameters, propose
from study.search.propose import _task
from study.search.samplers import ProbeSampler
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
    pytest.param(SearchSpec(method="tpe", trials=8), id="tpe"),
    pytest.param(
        SearchSpec(method="cmaes", trials=13, interval=(0.1, 10.0), strength=(0.3, 0.8)), id="cmaes"
    ),
    pytest.param(
        SearchSpec(method="gp", trials=8, over={"guide.noise.strength": (0.3, 0.8)}), id="over"
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
        for low, high in spec.over.values():
            assert low <= parse(task.guide).strength <= high  # type: ignore[attr-defined]
        if spec.strength:
            assert spec.strength[0] <= parse(task.guide).strength <= spec.strength[1]  # type: ignore[attr-defined]
    if spec.guides:
        assert guides <= {PAIRING.guide, *spec.guides}
    assert (len(guides) == 1) == (not spec.strength and not spec.guides and not spec.over)


@pytest.mark.parametrize("best", [0.75, 1.0, 1.75, 2.6])
def test_the_probe_s_strategy_is_a_sampler_for_any_study(best: float) -> None:
    """Which makes the trials that a study of this project makes, and ends where it does."""
    expected = searched(SearchSpec(trials=30), valley(best), endpoint=best + 0.1)
    study = optuna.create_study(sampler=ProbeSampler(best + 0.1))

    def objective(trial: optuna.Trial) -> float:
        outcome = valley(best)(trial.suggest_float("weight", 0.5, 3.5, step=0.05))
        trial.set_user_attr("replicates", list(outcome.replicates.get("fd_pixels", ())))
        return outcome.scores["fd_pixels"]

    study.optimize(objective, n_trials=30)
    tried = [trial.params["weight"] for trial in study.trials]
    assert tried[: len(weights(expected))] == pytest.approx(weights(expected))
    assert len(tried) <= len(weights(expected)) + 1 < 15
    assert study.best_params["weight"] == pytest.approx(best, abs=0.05)


def test_the_probe_s_sampler_is_for_a_weight() -> None:
    study = optuna.create_study(sampler=ProbeSampler(1.5))
    with pytest.raises(InputError, match=r"x: found .*; accepted: a float with a step"):
        study.ask().suggest_int("x", 0, 3)


def test_cma_es_needs_a_second_number() -> None:
    with pytest.raises(InputError, match=r"search\.method: found 'cmaes'; accepted: gp or tpe, as"):
        SearchSpec(method="cmaes", guides=("noise(0.6)",))


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
    found = _task(results, pairing, {"weight": 2.0, "guide.turned.strength": 3.0})
    assert found.guide == "turned(3, angle=30)"


RULED = PairingSpec(
    "noise(0.2)", "dropout(0.3)+noise(0.4)", rule="interval(0.3, 5)+cfg-zero(steps=1)+rescale(0.7)"
)
OVER = {
    "rule.interval.low": (0.05, 1.0),
    "rule.cfg-zero.steps": (0.0, 4.0),
    "rule.rescale.phi": (0.0, 1.0),
    "guide.dropout.strength": (0.1, 0.4),
}


def test_numbers_of_rules_and_guides_are_searched_where_they_stand() -> None:
    spec = SearchSpec(method="gp", over=OVER)
    space, results = distributions(spec, RULED), begun(spec, pairing=RULED)
    assert space["rule.interval.low"] == optuna.distributions.FloatDistribution(0.05, 1, log=True)
    assert space["rule.cfg-zero.steps"] == optuna.distributions.IntDistribution(0, 4)
    assert space["rule.rescale.phi"] == optuna.distributions.FloatDistribution(0, 1)
    values = {
        "weight": 2.0,
        "rule.interval.low": 0.123456,
        "rule.cfg-zero.steps": 3,
        "rule.rescale.phi": 0.25,
        "guide.dropout.strength": 0.2,
    }
    task = _task(results, RULED, values)
    assert task.rule == "interval(0.1235, 5)+cfg-zero(steps=3)+rescale(0.25)"
    assert task.guide == "dropout(0.2)+noise(0.4)"
    assert parameters(spec, RULED, task) == {**values, "rule.interval.low": 0.1235}
    own = parameters(spec, RULED, results.single(RULED.main))
    assert own == {"weight": 1.0, **dict(zip(OVER, (0.3, 1, 0.7, 0.3), strict=True))}
    check_over(spec, [RULED, PAIRING])  # which has none of these


def test_an_entry_of_a_list_is_searched() -> None:
    pairing = PairingSpec("noise(0.2)", "noise(0.4)", rule="fdg(1, 0.5)")
    spec = SearchSpec(method="gp", over={"rule.fdg.shares.1": (0.0, 1.0)})
    results = begun(spec, pairing=pairing)
    assert _task(results, pairing, {"weight": 2.0, "rule.fdg.shares.1": 0.2}).rule == "fdg(1, 0.2)"


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"apg.eta": (0, 1)}, r"search.over.apg.eta: accepted: rule.KIND.NUMBER or guide.KIND"),
        ({"rule.apg.eta": (0, 1)}, "no pairing has this number; accepted: rule.interval.low, "),
        ({"rule.rescale.psi": (0, 1)}, "no pairing has this number"),
        ({"rule.interval.low.0": (0, 1)}, "no pairing has this number"),
        ({"rule.rescale.phi": (0, 0.5)}, "found 0 to 0.5; accepted: a range with 0.7, the number"),
        ({"rule.rescale.phi": (0.5, 1.5)}, "search.over: rescale.*found phi 1.5; accepted: 0 to 1"),
        (
            {"rule.interval.low": (0.1, 6), "rule.interval.high": (4, 9)},
            "search.over: interval.*accepted: 0 ≤ low ≤ high",
        ),
    ],
)
def test_ranges_that_suit_no_number_are_named(
    over: dict[str, tuple[float, float]], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        check_over(SearchSpec(method="gp", over=over), [RULED])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"over": {"rule.apg.eta": (1.0, 0.0)}}, "search.over.rule.apg.eta: .*the lower one first"),
        ({"method": "probe", "over": {"rule.apg.eta": (0.0, 1.0)}}, "search.over: .*only gp"),
        (
            {"over": {"guide.noise.strength": (0.1, 1.0)}, "strength": (0.1, 1.0)},
            "search.over: .*nothing of the guide together with search.strength",
        ),
    ],
)
def test_ranges_that_no_search_can_use_are_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SearchSpec(**{"method": "gp", **changed})


def test_a_grid_that_steps_over_1_is_rejected() -> None:
    with pytest.raises(InputError, match=r"search.weight: .*steps of 0.3"):
        SearchSpec(weight=(0.5, 3.5), step=0.3)
