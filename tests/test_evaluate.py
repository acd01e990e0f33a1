"""The evaluator: a task in, an outcome out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from degradations import InputError
from study.checkpoints import load_base
from study.cli.config import load_spec
from study.engine.check import evaluator_of
from study.evaluation.evaluator import Evaluator
from study.evaluation.parts import is_stochastic
from study.metrics import Tally
from study.records.task import BASE, Task
from study.specs import PairingSpec, StudySpec
from tests.helpers import evaluator_for

PAIRING = PairingSpec("noise(0.2)", "dropout(0.4)", "independent")


@pytest.fixture(scope="module")
def spec() -> StudySpec:
    return load_spec("tests/small.yaml")


@pytest.fixture(scope="module")
def evaluator(spec: StudySpec) -> Evaluator:
    return evaluator_for(spec, load_base("digits", "digits"))


@pytest.mark.parametrize("coupling", ["independent", "shared"])
def test_endpoints_are_the_mixtures_of_main_and_guide_alone(
    evaluator: Evaluator, coupling: str
) -> None:
    pairing = PairingSpec("noise(0.2)", "dropout(0.4)", coupling)  # type: ignore[arg-type]
    task = Task.endpoints(pairing, 0, 180, 6)
    found = evaluator.outcome(task)
    main = evaluator.samples(Task.single(pairing.main, 0, 180, 6))
    # weight 0: the guide with the draws it would have
    guide = evaluator.samples(Task.guided(pairing, 0.0, 0, 180, 6))
    for weight in (1.0, 1.5, 3.5):
        tally = Tally(evaluator.extractors)
        tally.fold(weight * main + (1 - weight) * guide, 0)
        for name, reference in evaluator.references.items():
            moments = tally.moments[name]
            at = found.curve["weight"].index(weight)
            expected = reference.frechet.distance(moments.mean, moments.covariance)
            assert found.curve[f"fd_{name}"][at] == pytest.approx(expected, rel=1e-4)
    for name in evaluator.references:
        curve = dict(zip(found.curve["weight"], found.curve[f"fd_{name}"], strict=True))
        best = found.scores[f"endpoint_weight_fd_{name}"]
        assert curve[best] == min(curve.values()) == found.scores[f"fd_{name}"]
        assert found.scores[f"endpoint_gain_fd_{name}"] == pytest.approx(
            1 - curve[best] / curve[1.0]
        )


def test_main_and_guide_are_drawn_once(spec: StudySpec) -> None:
    """The endpoints and the main alone are one sampling of the main: the second costs nothing, and
    scores the same."""
    fresh = evaluator_for(spec, load_base("digits", "digits"))
    each = 180 * 11
    assert fresh.outcome(Task.endpoints(PAIRING, 0, 180, 6)).network_evaluations == 2 * each
    alone = fresh.outcome(Task.single("noise(0.2)", 0, 180, 6))
    assert alone.network_evaluations == 0
    streamed = evaluator_for(spec, load_base("digits", "digits")).outcome(
        Task.single("noise(0.2)", 0, 180, 6)
    )
    assert streamed.network_evaluations == each
    assert streamed.scores == alone.scores
    assert streamed.replicates == alone.replicates
    assert fresh.outcome(Task.guided(PAIRING, 2.0, 0, 180, 6)).network_evaluations == 2 * each


@pytest.mark.parametrize(
    ("weight", "rule", "each"),
    [
        (1.0, "constant", 11),
        (0.0, "constant", 11),
        (2.0, "constant", 22),
        (2.0, "interval(0, 1e9)", 22),
        (0.0, "interval(0, 1e9)", 22),
        (0.0, "interval(1e8, 1e9)", 11),
        (2.0, "cfg-zero(steps=2)", 14),  # of 6 steps, two evaluations each
        (1.0, "cfg-zero(steps=2)", 11),
        (2.0, "linear(40, 0.01)+rescale(0.5)", 21),  # at the first level the share is 0
    ],
)
def test_evaluations_are_those_of_the_networks(
    evaluator: Evaluator, weight: float, rule: str, each: int
) -> None:
    """Counted at the network itself; at weight 0 the main sleeps unless an interval may wake it."""
    counted: list[int] = []
    network = evaluator.base.denoiser.get_submodule("network")
    hook = network.register_forward_pre_hook(lambda _, args: counted.append(len(args[0])))
    task = replace(
        Task.guided(PairingSpec("sigma(0.1)", "sigma(0.2)"), 2.0, 0, 180, 6),
        weight=weight,
        rule=rule,
    )
    found = evaluator.outcome(task).network_evaluations
    hook.remove()
    assert found == sum(counted) == each * 180


def test_a_search_s_main_scores_as_the_confirmation_s_would(
    evaluator: Evaluator, spec: StudySpec
) -> None:
    """One way keeps the samples, the other streams them."""
    other = evaluator_for(
        replace(spec, seed=7), evaluator.base
    )  # for which seed 0 is not the search's
    task = Task.single("dropout(0.4)", 0, 180, 6)
    kept, streamed = evaluator.outcome(task), other.outcome(task)
    assert kept.scores == pytest.approx(dict(streamed.scores))
    assert {k: list(v) for k, v in kept.replicates.items()} == {
        k: list(v) for k, v in streamed.replicates.items()
    }


def test_scores_hold_what_the_features_give(evaluator: Evaluator) -> None:
    scores = evaluator.outcome(Task.single(BASE, 0, 180, 12)).scores
    names = {"fd", "kd", "precision", "recall", "density", "coverage"}
    assert {f"{name}_digits" for name in names} | {
        "fd_digits_mean",
        "fd_digits_cov",
        "accuracy_digits",
    } <= set(scores)
    assert scores["fd_digits"] == pytest.approx(scores["fd_digits_mean"] + scores["fd_digits_cov"])
    assert scores["accuracy_digits"] > 0.8
    assert "accuracy_pixels" not in scores


def test_replicates_leave_a_tenth_out(evaluator: Evaluator) -> None:
    """The jackknife's error of the accuracy-free FD is about that between seeds."""
    outcomes = [evaluator.outcome(Task.single(BASE, seed, 360, 8)) for seed in range(10, 22)]
    between = np.std([outcome.scores["fd_pixels"] for outcome in outcomes], ddof=1)
    within = [np.sqrt(9 * np.var(outcome.replicates["fd_pixels"])) for outcome in outcomes]
    assert len(outcomes[0].replicates["fd_pixels"]) == 10
    # 12 seeds tell a deviation to a fifth or so
    assert 0.4 < np.sqrt(np.mean(np.square(within))) / between < 2.5


def test_whether_a_degradation_is_random(evaluator: Evaluator) -> None:
    random = {
        name: evaluator.is_stochastic(name)
        for name in ("none", "noise(0.1)", "quantize(4)", "quantize(4)+dropout(0.1)")
    }
    assert random == {
        "none": False,
        "noise(0.1)": True,
        "quantize(4)": False,
        "quantize(4)+dropout(0.1)": True,
    }


def test_what_a_base_cannot_suffer_is_rejected(evaluator: Evaluator) -> None:
    for name in ("no-attention(1)", "map-blur(1)", "dropout(0.1)+map-shuffle(0.5)"):
        with pytest.raises(InputError, match=name.split("+")[-1].split("(")[0]):
            is_stochastic(evaluator.base, evaluator.degradation(name))


def test_variants_are_bases_in_their_own_right(spec: StudySpec, tmp_path: Path) -> None:
    """Trained as far as is wanted, sampled in the base's place, and part of what makes scores
    comparable."""
    names = ("digits@snapshot=4", "digits@snapshot=4+dropout(0.4)")
    varied = replace(spec, pairings=tuple(PairingSpec("none", name) for name in names))
    found = evaluator_of(varied, tmp_path)
    own, plain, degraded = (found.samples(Task.single(name, 0, 20, 4)) for name in ("none", *names))
    assert not torch.equal(own, plain)
    assert not torch.equal(plain, degraded)
    assert (
        found.fingerprint()["variant.digits@snapshot=4"]
        == found.variant("digits@snapshot=4").sha256
    )
    with pytest.raises(InputError, match="variants are not available here"):
        evaluator_for(varied, found.base)


def test_a_task_has_its_own_scale_of_the_fresh_noise(spec: StudySpec) -> None:
    churned = replace(spec, sampler=replace(spec.sampler, churn=4.0, churn_noise=1.1))
    plain = replace(spec, sampler=replace(spec.sampler, churn=4.0))
    task = Task.single(BASE, 0, 30, 6)
    expected = evaluator_for(churned, load_base("digits", "digits")).samples(task)
    found = evaluator_for(plain, load_base("digits", "digits"))
    assert torch.equal(found.samples(replace(task, churn_noise=1.1)), expected)
    assert not torch.equal(found.samples(task), expected)


@pytest.mark.parametrize("weight", [2.0, 1.5, 0.0])
def test_a_shared_evaluation_is_counted_once_and_never_as_none(
    spec: StudySpec, weight: float
) -> None:
    """At weight 0 the guide alone is evaluated, and no main whose evaluation it could share."""
    pairing = PairingSpec("none", "score(-0.2)")
    evaluator = evaluator_for(replace(spec, pairings=(pairing,)), load_base("digits", "digits"))
    found = evaluator.outcome(Task.guided(pairing, weight, 0, 60, 6))
    assert found.network_evaluations == 60 * 11
