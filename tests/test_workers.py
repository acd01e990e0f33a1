"""Several processes on one study, and what remains when they are killed."""

import json
import multiprocessing
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from study.cli.main import call
from study.results import read
from study.search import Store, names, open_storage
from study.search.collect import collect

SMALL = ["tests/small.yaml", "--confirm.seed_sets", "8", "--extractors", "[digits]"]
KILLS = 20


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    return root


def scores(root: Path) -> dict[tuple[str, str], dict[str, float]]:
    """The scores of everything that is finished, by part and task."""
    return finished(open_storage(root))


def finished(storage: Any) -> dict[tuple[str, str], dict[str, float]]:
    found = {}
    for part in names(storage, "small"):
        for evaluation in Store(storage, part).evaluations():
            key = part, json.dumps(evaluation.task.as_dict())
            assert key not in found, "a task was evaluated twice"
            found[key] = dict(evaluation.scores)
    return found


def rows(root: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert call(["table", "small", "--format", "json", "--root", str(root)]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def start(root: Path, *more: str) -> Any:
    """A worker in a process of its own, forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["study.engine.run", "study.cli.main", "sklearn.datasets"])
    process = context.Process(target=call, args=(["worker", *SMALL, "--root", str(root), *more],))
    process.start()
    return process


def test_two_workers_find_what_one_does(undisturbed: Path, tmp_path: Path) -> None:
    workers = [start(tmp_path), start(tmp_path)]
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    done = [trial for trial in _trials(open_storage(tmp_path)) if trial.state.name == "COMPLETE"]
    assert {trial.user_attrs["owner"]["pid"] for trial in done} == {
        worker.pid for worker in workers
    }
    assert scores(tmp_path) == scores(undisturbed)


def test_run_with_workers_ends_in_the_same_table(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["run", *SMALL, "--root", str(tmp_path), "--workers", "2"]) == 0
    assert "ended with status" not in capsys.readouterr().err
    assert scores(tmp_path) == scores(undisturbed)
    assert rows(tmp_path, capsys) == rows(undisturbed, capsys)


def test_a_worker_alone_finishes_a_study_and_run_shows_it(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["worker", *SMALL, "--root", str(tmp_path)]) == 0
    assert not (tmp_path / "mlflow.db").exists()
    assert scores(tmp_path) == scores(undisturbed)
    capsys.readouterr()
    assert call(["run", *SMALL, "--root", str(tmp_path)]) == 0
    assert "left" not in capsys.readouterr().err
    assert rows(tmp_path, capsys) == rows(undisturbed, capsys)


def test_a_worker_must_have_the_study_s_config(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It neither joins with other pairings nor changes what the table shows."""
    before = rows(undisturbed, capsys)
    capsys.readouterr()
    assert call(["worker", *SMALL, "--root", str(undisturbed), "--confirm.seed_sets", "2"]) == 2
    assert "begun with other pairings or numbers" in capsys.readouterr().err
    assert rows(undisturbed, capsys) == before


def test_a_first_evaluation_under_way_has_a_fingerprint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is finished yet, and still another config is rejected."""
    first = start(tmp_path, "--sampler.steps", "200", "--search.samples", "1000")
    storage = open_storage(tmp_path)
    while not _busy(storage):
        assert first.is_alive()
        time.sleep(0.01)
    try:
        assert (
            call(
                [
                    "worker",
                    *SMALL,
                    "--root",
                    str(tmp_path),
                    "--sampler.steps",
                    "200",
                    "--sampler.sigma_max",
                    "20",
                ]
            )
            == 2
        )
        assert "sampler.sigma_max: 40.0 then, 20.0 now" in capsys.readouterr().err
    finally:
        first.kill()
        first.join()


def test_a_study_with_workers_is_not_begun_afresh(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from study.files.lock import locked

    with locked(undisturbed / "locks" / "small.workers.lock", shared=True):
        assert call(["run", *SMALL, "--root", str(undisturbed), "--fresh"]) == 1
    assert "has running workers" in capsys.readouterr().err


def test_killing_workers_twenty_times_loses_nothing_and_changes_nothing(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers at a time; one of them, at work on something, is killed, and replaced."""
    chance, killed, kept = random.Random(0), 0, dict[tuple[str, str], dict[str, float]]()
    storage, workers = open_storage(tmp_path), [start(tmp_path), start(tmp_path)]
    while killed < KILLS:
        busy = [worker for worker in workers if worker.pid in _busy(storage)]
        if not busy:
            assert any(worker.is_alive() for worker in workers), (
                "the study ended before the killing did"
            )
            time.sleep(0.01)
            continue
        time.sleep(chance.uniform(0, 0.05))
        victim = chance.choice(busy)
        victim.kill()
        victim.join()
        killed += victim.exitcode == -signal.SIGKILL
        now = finished(storage)
        assert all(now[key] == values for key, values in kept.items()), (
            "a finished trial was lost, or its score changed"
        )
        kept = now
        workers[workers.index(victim)] = start(tmp_path)
    for worker in workers:
        worker.join(300)  # however busy the machine is
        assert worker.exitcode == 0
    assert scores(tmp_path) == scores(undisturbed)
    assert call(["run", *SMALL, "--root", str(tmp_path)]) == 0
    assert rows(tmp_path, capsys) == rows(undisturbed, capsys)
    assert {trial.state.name for trial in _trials(open_storage(tmp_path))} <= {"COMPLETE", "FAIL"}


def test_trials_keep_what_they_cost(undisturbed: Path) -> None:
    results = collect(undisturbed, "small")
    for evaluation in results.shared.values():
        networks = 1 if evaluation.task.weight == 1 else 2
        assert evaluation.outcome.network_evaluations == 180 * networks * (
            2 * evaluation.task.steps - 1
        )
    assert read("small", undisturbed).trials.network_evaluations.sum() > 0


def test_other_commands_leave_the_study_as_it_is(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, quick = (
        rows(undisturbed, capsys),
        ["--probe.images", "16", "--probe.levels", "2", "--probe.draws", "2"],
    )
    assert (
        call(["calibrate", *SMALL, "--root", str(undisturbed), "--calibrate.kinds", "[noise]"]) == 0
    )
    other = ["--pairings", "[{main: noise(0.2), guide: noise(0.4)}]"]
    assert call(["probe", *SMALL, "--root", str(undisturbed), *quick, *other]) == 0
    assert call(["run", *SMALL, "--root", str(undisturbed), "--sampler.steps", "8"]) == 2
    assert rows(undisturbed, capsys) == before
    from mlflow import MlflowClient

    from study.tracking import database

    client = MlflowClient(database(undisturbed))
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {
        "FINISHED"
    }


def _trials(storage: Any) -> list[Any]:
    import optuna

    studies = (
        optuna.load_study(study_name=name, storage=storage) for name in names(storage, "small")
    )
    return [
        trial
        for study in studies
        for trial in study.get_trials(deepcopy=False)
        if "owner" in trial.user_attrs
    ]


def _busy(storage: Any) -> set[int]:
    """The processes that are at work on a trial."""
    return {
        trial.user_attrs["owner"]["pid"]
        for trial in _trials(storage)
        if trial.state.name == "RUNNING"
    }
