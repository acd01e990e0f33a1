"""What MLflow shows of a study, in a copied folder and after commands that were killed."""

from pathlib import Path
from typing import Any

import pytest

from study.cli.main import call
from study.tracking import Tracking
from tests.small_study import SMALL, client_of, runs_of, table


def test_a_copied_root_writes_into_itself(
    finished: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def state(root: Path) -> dict[str, int]:
        return {
            str(path): path.stat().st_mtime_ns for path in sorted((root / "artifacts").rglob("*"))
        }

    before = state(finished)
    assert call(["run", *SMALL, "--root", str(root), "--search.trials", "2"]) == 0
    assert state(finished) == before
    client = client_of(root)
    assert (
        client.get_experiment_by_name("small").artifact_location
        == (root / "artifacts" / "small").as_uri()
    )
    assert {
        run.info.artifact_uri.startswith((root / "artifacts").as_uri()) for run in runs_of(root)
    } == {True}
    study = next(run for run in runs_of(root) if run.data.tags["level"] == "study")
    kept = Path(client.download_artifacts(study.info.run_id, "report/table.md"))
    assert kept.read_text() == (root / "reports" / "small" / "table.md").read_text()
    capsys.readouterr()


def test_the_original_is_left_alone_by_a_view_of_the_copy(finished: Path, root: Path) -> None:
    Tracking(root, "small").close()
    assert (finished / "artifacts").as_uri() not in {run.info.artifact_uri for run in runs_of(root)}
    uris = {run.info.artifact_uri for run in runs_of(finished)}
    assert all(uri.startswith((finished / "artifacts").resolve().as_uri()) for uri in uris)


def test_runs_written_at_once_are_those_that_a_client_would_make(root: Path) -> None:
    """Everything that MLflow says of them, but for numbers and times."""
    from mlflow.entities import Metric, Param, RunTag

    client, tracking = client_of(root), Tracking(root, "small")
    ours = next(
        run for run in runs_of(root) if run.data.tags["level"] == "evaluation" and run.data.metrics
    )
    made = client.create_run(
        ours.info.experiment_id, ours.info.start_time, dict(ours.data.tags), ours.info.run_name
    )
    history = [client.get_metric_history(ours.info.run_id, key)[0] for key in ours.data.metrics]
    client.log_batch(
        made.info.run_id,
        [Metric(point.key, point.value, point.timestamp, point.step) for point in history],
        [Param(key, value) for key, value in ours.data.params.items()],
        [RunTag(key, value) for key, value in ours.data.tags.items()],
    )
    client.set_terminated(made.info.run_id, ours.info.status, ours.info.end_time)
    tracking.close()

    def plain(run_id: str) -> Any:
        run = client.get_run(run_id).to_dictionary()
        for key in ("run_id", "run_uuid", "artifact_uri"):
            run["info"].pop(key, None)
        points = {
            key: [vars(point) for point in client.get_metric_history(run_id, key)]
            for key in ours.data.metrics
        }
        for point in (point for found in points.values() for point in found):
            point.pop("_run_id", None)
        return run, points

    assert plain(ours.info.run_id) == plain(made.info.run_id)


def test_a_finished_study_is_shown_without_mlflow_or_a_new_report(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("MLflow was opened, or figures were drawn")

    assert call(["run", *SMALL, "--root", str(root)]) == 0  # in its new place it is reported once
    rows = table(root, capsys)
    monkeypatch.setattr("study.engine.publish.Tracking", never)
    monkeypatch.setattr("study.engine.publish.write_report", never)
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    said = capsys.readouterr()
    assert "failed" not in said.err
    assert "noise(0.2) → noise(0.4)" in said.out
    assert table(root, capsys) == rows


def test_runs_left_running_by_a_killed_command_are_ended_by_the_next_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study is finished and reported, and nothing of it changes: another command opened MLflow,
    and was killed."""
    calibrate = ["calibrate", *SMALL, "--root", str(root), "--calibrate.kinds", "[noise]"]
    assert call(calibrate) == 0
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "close", lambda *_: None)  # which a killed process does not come to
        assert call(calibrate) == 0
    assert "RUNNING" in {run.info.status for run in runs_of(root)}
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    assert "RUNNING" not in {run.info.status for run in runs_of(root)}


def test_a_report_is_made_anew_where_some_of_it_is_missing(root: Path) -> None:
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    figure = root / "reports" / "small" / "nearest.png"
    figure.unlink()
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    assert figure.exists()


def test_where_mlflow_fails_the_table_is_still_made(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no room for pictures")

    monkeypatch.setattr("study.engine.publish.Tracking", fails)
    assert call(["run", *SMALL, "--root", str(root), "--search.trials", "2"]) == 0
    said = capsys.readouterr()
    assert said.err.count("MLflow failed (no room for pictures)") == 1
    assert "`study sync small`" in said.err
    assert "noise(0.2) → noise(0.4)" in said.out
    assert call(["sync", "small", "--root", str(root)]) == 1
    assert "no room for pictures" in capsys.readouterr().err
