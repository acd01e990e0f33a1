"""Small studies, end to end."""

import itertools
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.cli.main import call
from study.results import read

SMALL = "tests/small.yaml"
KEYS = {
    "pairing",
    "main",
    "guide",
    "coupling",
    "metric",
    "samples",
    "steps",
    "seeds",
    "fd_base",
    "fd_main",
    "fd_guide",
    "weight",
    "fd",
    "fd_sd",
    "recovered",
    "recovered_ci",
    "verdict",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mlruns")
    assert call(["run", SMALL, "--root", str(root)]) == 0
    return root


def table(
    root: Path, capsys: pytest.CaptureFixture[str], name: str = "small", *more: str
) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert call(["table", name, "--format", "json", "--root", str(root), *more]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_table_has_the_promised_keys(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(root, capsys)
    assert [(r["main"], r["guide"], r["coupling"]) for r in rows] == [
        ("noise(0.2)", "noise(0.4)", "independent"),
        ("noise(0.2)", "dropout(0.4)", "independent"),
        ("noise(0.2)", "noise(0.4)", "shared"),
    ]
    for row in rows:
        assert set(row) >= KEYS
        assert row["metric"] == "fd_digits"
        assert (row["samples"], row["steps"], row["seeds"]) == (180, 6, [1, 2, 3])
        assert row["verdict"] in ("improves", "blends", "no gain", "undecided")
        if row["verdict"] not in ("improves", "blends"):
            assert row["weight"] == 1
            assert row["fd"] == row["fd_main"]
    assert rows[0]["fd_base"] == rows[1]["fd_base"]  # scored once
    assert table(root, capsys, "small", "--metric", "fd_pixels")[0]["metric"] == "fd_pixels"


def test_frames_agree_with_the_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, rows = read("small", root), table(root, capsys)
    assert frames.rows == rows
    assert len(frames.trials) == len(
        frames.trials.drop_duplicates(["part", "denoiser", "seed", "steps"])
    )
    confirm = frames.trials[(frames.trials.part == "confirm") & (frames.trials.main == "none")]
    fd = confirm[(confirm.seed > 0) & (confirm.steps == 6)].fd_digits
    assert float(fd.mean()) == pytest.approx(rows[0]["fd_base"])
    assert {"fd_digits", "fd_pixels", "nearest", "samples-1"} <= set(frames.figures)


def test_giving_it_again_evaluates_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, rows = len(read("small", root).trials), table(root, capsys)
    capsys.readouterr()
    assert call(["run", SMALL, "--root", str(root)]) == 0
    assert "left" not in capsys.readouterr().err
    assert len(read("small", root).trials) == before
    assert table(root, capsys) == rows


def test_a_weight_of_one_is_the_main_s_evaluation(root: Path) -> None:
    trials = read("small", root).trials
    ones = trials[
        (trials.weight == 1)
        & (trials.main == "noise(0.2)")
        & (trials.seed == 0)
        & (trials.steps == 6)
    ]
    assert len(ones) == 4  # one in each search, one shared
    assert ones.fd_digits.nunique() == 1


def test_mlflow_mirrors_the_study(root: Path) -> None:
    from mlflow import MlflowClient

    from study.tracking import database

    client = MlflowClient(database(root))
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    by_id = {run.info.run_id: run for run in runs}
    parent = lambda run: by_id.get(run.data.tags.get("mlflow.parentRunId", ""))  # noqa: E731
    study = [run for run in runs if parent(run) is None]
    parts = [run for run in runs if parent(run) is not None and parent(parent(run)) is None]
    leaves = [run for run in runs if run not in study and run not in parts]
    assert (len(study), len(parts)) == (1, 4)
    assert all(parent(run) in parts for run in leaves)
    assert len(leaves) == len(read("small", root).trials)
    assert {run.info.status for run in runs} == {"FINISHED"}
    pairing = next(run for run in parts if run.info.run_name == "noise(0.2) → noise(0.4), shared")
    history = client.get_metric_history(pairing.info.run_id, "fd_digits")
    trials = read("small", root).trials
    expected = trials[trials.part == "noise(0.2) → noise(0.4), shared"]
    assert {(m.step, m.value) for m in history} == {
        (round(100 * w), fd) for w, fd in zip(expected.weight, expected.fd_digits, strict=True)
    }
    tags, params = study[0].data.tags, study[0].data.params
    assert {
        "version.torch",
        "git.commit",
        "base.sha256",
        "reference.sha256",
        "extractor.digits.sha256",
    } <= set(tags)
    assert params["sampler.steps"] == "6"
    artifacts = {item.path for item in client.list_artifacts(study[0].info.run_id, "report")}
    assert {
        f"report/{name}" for name in ("table.md", "table.csv", "fd_digits.png", "config.yaml")
    } <= artifacts
    assert "table.json" in {item.path for item in client.list_artifacts(study[0].info.run_id)}


def test_sync_rebuilds_mlflow(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    from mlflow import MlflowClient

    from study.tracking import database

    copy, rows = tmp_path / "copy", table(root, capsys)
    copy.mkdir()
    shutil.copy(root / "optuna.db", copy)
    for _ in range(2):  # again changes nothing
        assert call(["sync", "small", "--root", str(copy)]) == 0
    client = MlflowClient(database(copy))
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert len(runs) == 5 + len(read("small", root).trials)
    study = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert study.data.params["sampler.steps"] == "6"
    assert "version.torch" in study.data.tags
    assert table(copy, capsys) == rows


def test_a_changed_config_is_rejected_and_more_trials_extend(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["run", SMALL, "--root", str(root), "--sampler.steps", "8"]) == 2
    said = capsys.readouterr().err
    assert "sampler.steps: 6 then, 8 now" in said
    assert "--name" in said
    before = len(read("small", root).trials)
    assert call(["run", SMALL, "--root", str(root), "--search.trials", "6"]) == 0
    after = read("small", root)
    assert after.spec.search.trials == 6
    assert len(after.trials) >= before + 3
    assert call(["run", SMALL, "--root", str(root), "--fresh"]) == 0
    assert read("small", root).spec.search.trials == 5


def test_two_processes_cannot_run_one_study(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from study.files.lock import locked

    with locked(root / "locks" / "small.run.lock"):
        for command in (["run", SMALL], ["sync", "small"]):
            assert call([*command, "--root", str(root)]) == 1
            assert "running in another process" in capsys.readouterr().err


def test_an_interrupt_leaves_no_run_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    from study.evaluation.evaluator import Evaluator
    from study.tracking import database

    outcome, calls = Evaluator.outcome, itertools.count(1)

    def interrupted(*args: Any) -> Any:
        if next(calls) > 2:
            raise KeyboardInterrupt
        return outcome(*args)

    monkeypatch.setattr(Evaluator, "outcome", interrupted)
    assert call(["run", SMALL, "--root", str(tmp_path), "--search.trials", "1"]) == 1
    client = MlflowClient(database(tmp_path))
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {
        "KILLED",
        "FINISHED",
    }


def test_a_trial_that_is_not_finite_is_recorded_and_the_study_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "nan.yaml"
    config.write_text(
        "name: nan\nbase: digits\nreference: digits\nsampler: {steps: 4, sigma_max: 40, chunk: "
        "60}\n"
        "pairings: [{main: noise(0.2), guide: noise(0.4)}]\n"
        "search: {method: gp, samples: 60, trials: 3, weight: [1.0, 1.0e+38], step: 1.0e+37, "
        "design: [1.0e+38]}\n"
        "confirm: {samples: 60, seed_sets: 2, controls: false}\n"
    )
    assert call(["run", str(config), "--root", str(tmp_path / "r")]) == 0
    trials = read("nan", tmp_path / "r").trials
    failed = trials[trials.reason != ""]
    assert len(failed) >= 1
    assert failed.reason.str.contains("not finite").all()
    assert len(trials[trials.part != "confirm"]) == 3
    row = table(tmp_path / "r", capsys, "nan")[0]
    assert row["verdict"] == "undecided"
    assert math.isfinite(row["fd_main"])


def run_until(lines: int, config: str, root: Path) -> int:
    """Run a study in a process of its own and kill it after so many evaluations; returns its exit
    status."""
    command = [sys.executable, "-m", "study.cli", "run", config, "--root", str(root)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stderr is not None
        for count, _ in enumerate((line for line in run.stderr if line.startswith("[")), 1):
            if count == lines:
                run.send_signal(signal.SIGKILL)
    return run.returncode


def test_killed_and_resumed_it_ends_in_the_same_table(
    root: Path, tmp_path: Path, capsys: Callable
) -> None:
    undisturbed = table(root, capsys)  # type: ignore[arg-type]
    assert run_until(3, SMALL, tmp_path) == -signal.SIGKILL
    kept = len(read("small", tmp_path).trials)
    assert kept >= 3
    assert run_until(9, SMALL, tmp_path) == -signal.SIGKILL
    assert len(read("small", tmp_path).trials) > kept
    assert run_until(10_000, SMALL, tmp_path) == 0
    assert table(tmp_path, capsys) == undisturbed  # type: ignore[arg-type]


def test_controls_stand_beside_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairings = "[{main: noise(0.2), guide: noise(0.4), coupling: shared}]"
    argv = ["run", SMALL, "--extractors", "[digits]", "--pairings", pairings]
    argv += ["--search.trials", "3", "--confirm.seed_sets", "2", "--confirm.controls", "true"]
    assert call([*argv, "--root", str(tmp_path)]) == 0
    header = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| p"))
    for column in ("base, 2× steps", "main, 2× steps", "main, 2 draws", "main, rescaled"):
        assert column in header
    (row,) = table(tmp_path, capsys)
    trials = read("small", tmp_path).trials
    confirmed = trials[(trials.part == "confirm") & (trials.seed != 0) & (trials.weight == 1)]
    fd = confirmed.groupby(["main", "steps"]).fd_digits.mean()
    assert row["fd_base_double_steps"] == pytest.approx(fd["none", 12])
    assert row["fd_main_double_steps"] == pytest.approx(fd["noise(0.2)", 12])
    assert row["fd_main_rescaled"] == pytest.approx(fd[row["main_rescaled"], 6])
    assert row["fd_main_rescaled"] < row["fd_main"]  # noise narrows, which a rescaling undoes
    gained = row["fd_main_rescaled"] - row["tested_fd"]
    if row["beyond_rescaling"] is not None:
        damage = row["fd_main"] - row["fd_base"]
        assert row["beyond_rescaling"] == pytest.approx(gained / damage)
