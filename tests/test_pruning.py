"""Evaluations of a search that end early: by what rule, what they report, and what they save."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from study.checkpoints import load_base
from study.cli.config import load_spec
from study.engine import schedule
from study.engine.check import evaluator_of
from study.engine.worker import Worker
from study.evaluation.evaluator import Evaluator
from study.evaluation.pruning import looks, pruned, with_look
from study.metrics import Extractor, Tally, references, strata
from study.records.results import Results
from study.records.task import Evaluation, Outcome, Task
from study.report.progress import Progress
from study.sampling import Fixed
from study.search import open_storage
from study.specs import PairingSpec, SearchSpec, StudySpec
from tests.command_line import SMALL
from tests.helpers import evaluator_for
from tests.searches import valley

PAIRING = PairingSpec("noise(0.2)", "noise(0.4)", "shared")
TASK = Task.guided(PAIRING, 2.0, 0, 900, 16)


class Plain(Extractor):
    """Samples as features."""

    name = "plain"

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


@pytest.fixture(scope="module")
def spec() -> StudySpec:
    search = SearchSpec(samples=900, prune=True, trials=6)
    found = load_spec(SMALL)
    sampler = replace(found.sampler, steps=16)
    return replace(
        found, pairings=(PAIRING,), extractors=("digits",), search=search, sampler=sampler
    )


@pytest.fixture(scope="module")
def evaluator(spec: StudySpec) -> Evaluator:
    return evaluator_for(spec, load_base("digits", "digits"))


def test_looks_are_after_each_third_in_whole_chunks() -> None:
    def found(n: int, chunk: int) -> list[range]:
        return looks(Fixed((n, 1), chunk))

    assert [found(n, 600) for n in (600, 601, 1797, 1801, 50000)] == [
        [],  # a single chunk is all
        [range(1)],
        [range(1), range(1, 2)],
        [range(2), range(2, 3)],
        [range(28), range(28, 56)],
    ]
    assert found(90, 15) == []  # chunks of too few samples


def test_a_difference_on_the_part_is_that_on_all_samples() -> None:
    """Two wide and one narrow Gaussian in 16 dimensions: FD of 300 samples is biased by more than
    that of 900, and more so for the wide one. Over 150 repetitions the estimate from the part has
    the mean of the difference on all samples, to four standard errors; uncorrected it has not."""
    generator, found = torch.Generator().manual_seed(0), []
    target = references(torch.randn(20000, 16, generator=generator), [Plain()])
    for _ in range(150):
        scored = []
        for scale in (1.6, 1.0):
            x = scale * torch.randn(900, 16, generator=generator)
            both = []
            for n in (300, 900):
                tally = Tally([Plain()], strata(900))
                tally.fold(x[:n], 0)
                both.append(with_look({}, tally, target)["fd_plain"])
            scored.append([each[0] for each in both])
        (wide, wide_all), (narrow, narrow_all) = scored
        best = Outcome(
            {"fd_plain": narrow_all[0]}, {"fd_plain": narrow_all[1:]}, early={"fd_plain": [narrow]}
        )
        ended = pruned({"fd_plain": [wide]}, Evaluation(TASK, best), "fd_plain", 300 / 900)
        assert ended is not None
        true = wide_all[0] - narrow_all[0]
        corrected = ended.scores["fd_plain"] - narrow_all[0]
        found.append((corrected - true, wide[0] - narrow[0] - true))
    corrected, plain = np.mean(found, axis=0)
    errors = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert abs(corrected) < 4 * errors[0]
    assert abs(plain) > 4 * errors[1]


@pytest.mark.parametrize(
    ("early", "best"),
    [
        ([5.0, 5.1, 4.9, 5.0], None),  # nothing to compare with
        ([5.0, 5.1, 4.9, 5.0], [5.0, 5.1, 4.9, 5.0]),  # equal
        ([5.0, 5.1, 4.9, 5.0], [6.0, 6.1, 5.9, 6.0]),  # better
        ([5.2, 5.9, 4.4, 5.3], [5.0, 4.9, 5.2, 4.9]),  # worse by less than chance may do
        ([5.0], [4.0]),  # no groups
        ([5.0, 5.1, 4.9, 5.0], []),  # the best was scored without pruning
    ],
)
def test_what_may_be_the_best_goes_on(early: list[float], best: list[float] | None) -> None:
    known = None
    if best is not None:
        outcome = Outcome({"fd": 1.0}, {"fd": [1.0] * 3}, early={"fd": [best]} if best else {})
        known = Evaluation(TASK, outcome)
    assert pruned({"fd": [early]}, known, "fd", 1 / 3) is None


def test_a_later_look_compares_with_the_best_s_at_the_same_look() -> None:
    """Equal at the first look, worse at the second; the outcome is estimated from the second."""
    same, worse = [5.0, 5.1, 4.9, 5.0], [6.0, 6.1, 5.9, 6.0]
    known = Outcome({"fd": 1.0}, {"fd": [1.0] * 3}, early={"fd": [same, same]})
    ended = pruned({"fd": [same, worse]}, Evaluation(TASK, known), "fd", 2 / 3)
    assert ended is not None
    assert ended.scores["fd"] == pytest.approx(2.0)
    assert pruned({"fd": [same]}, Evaluation(TASK, known), "fd", 1 / 3) is None
    once = replace(known, early={"fd": [same]})  # the best has not been looked at twice
    assert pruned({"fd": [same, worse]}, Evaluation(TASK, once), "fd", 2 / 3) is None


def test_what_is_hopeless_ends_after_its_part(evaluator: Evaluator) -> None:
    good = evaluator.outcome(replace(TASK, weight=1.6))
    assert not good.pruned
    assert [len(look) for look in good.early["fd_digits"]] == [11, 11]
    hopeless = replace(TASK, weight=0.5)
    ended = evaluator.outcome(hopeless, best=Evaluation(replace(TASK, weight=1.6), good))
    assert ended.pruned
    assert ended.network_evaluations == 300 * 31 * 2
    assert good.network_evaluations == 900 * 31 * 2
    whole = evaluator.outcome(hopeless)
    assert ended.early["fd_digits"] == whole.early["fd_digits"][:1]
    gap = whole.scores["fd_digits"] - good.scores["fd_digits"]
    assert ended.scores["fd_digits"] - good.scores["fd_digits"] == pytest.approx(gap, rel=0.5)
    # a part on the way changes nothing
    plain = evaluator_for(
        replace(evaluator.spec, search=replace(evaluator.spec.search, prune=False)), evaluator.base
    ).outcome(hopeless)
    assert plain.early == {}
    for name, score in whole.scores.items():
        assert score == pytest.approx(plain.scores[name], rel=1e-9)


def test_only_a_search_is_pruned(evaluator: Evaluator) -> None:
    for changed in ({"seed": 1}, {"samples": 960}):
        assert evaluator.outcome(replace(TASK, **changed)).early == {}  # type: ignore[arg-type]


def test_main_alone_can_be_the_best(evaluator: Evaluator) -> None:
    alone = evaluator.outcome(Task.single("noise(0.2)", 0, 900, 16))
    guided = evaluator.outcome(replace(TASK, weight=1.0 + 1e-9))
    for mine, theirs in zip(alone.early["fd_digits"], guided.early["fd_digits"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("method", ["probe", "gp"])
def test_a_search_with_pruned_trials(spec: StudySpec, tmp_path: Path, method: str) -> None:
    """It saves evaluations, its winner is none of them, Optuna shows them as pruned, and another
    run of the same study adds nothing."""
    search = replace(spec.search, method=method, design=(1.0, 1.5, 0.6, 3.0))  # type: ignore[arg-type]
    spec = replace(spec, name=f"pruned-{method}", search=search)

    def run() -> Results:
        with Progress() as progress:
            worker = Worker(evaluator_of(spec, tmp_path), tmp_path, progress)
            worker.work(schedule.searches)
            return worker.results

    results = run()
    trials = results.searches[PAIRING]
    ended = [e for e in trials if e.outcome.pruned]
    assert ended
    assert all(e.outcome.network_evaluations in (300 * 62, 600 * 62) for e in ended)
    best = results.best_task(PAIRING)
    assert best not in [e.task for e in ended]
    incumbent = results.incumbent(PAIRING)
    assert incumbent is not None
    assert incumbent.scores["fd_digits"] == min(
        e.scores["fd_digits"] for e in trials if not e.outcome.pruned
    )
    kept = optuna.load_study(
        study_name=f"{spec.name}/{PAIRING.name}", storage=open_storage(tmp_path)
    )
    states = [t.state.name for t in kept.trials]
    assert states.count("PRUNED") == len(ended)
    assert states.count("COMPLETE") == len(trials) - len(ended)
    assert run().searches[PAIRING] == trials


def test_a_pruned_weight_does_not_win() -> None:
    """Neither as the lowest score nor as the minimum of the parabola."""
    spec = StudySpec("x", base="digits", pairings=(PAIRING,), search=SearchSpec(samples=900))
    empty = Results(spec, {PAIRING: []}, {})
    curve = valley(1.8)

    def evaluation(weight: float, is_pruned: bool) -> Evaluation:
        outcome = replace(curve(weight), pruned=is_pruned)
        return Evaluation(empty.searched(PAIRING, weight), outcome)

    some = [evaluation(w, w == 1.8) for w in (1.0, 1.4, 1.8, 2.2)]
    results = Results(spec, {PAIRING: some}, {})
    best = results.best_task(PAIRING)
    assert best is not None
    assert best.weight in (1.4, 2.2)
    only = Results(spec, {PAIRING: [evaluation(1.8, True)]}, {})
    assert only.best_task(PAIRING) is None
    assert only.incumbent(PAIRING) is None
