"""What remains when processes are killed, files are damaged, and folders are copied."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from degradations import InputError
from study.cli.main import call
from study.engine.worker import Worker
from study.files.atomic import replacing, sweep
from study.files.sqlite import connect, damage, make_whole
from study.records.task import Outcome, Task
from study.search import Store, open_storage
from study.search.collect import collect
from study.search.owner import this_process
from study.tracking import Tracking, database
from study.tracking.database import open_client

SMALL = [
    "tests/small.yaml",
    "--search.trials",
    "1",
    "--confirm.seed_sets",
    "2",
    "--extractors",
    "[digits]",
]
TASK = Task.alone("none", 0, 100, 8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "mlruns"
    assert call(["run", *SMALL, "--root", str(root)]) == 0
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A finished study of one's own, copied as a user would."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def table(root: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert call(["table", "small", "--format", "json", "--root", str(root)]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def client_of(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(database(root))


def runs_of(root: Path, name: str = "small") -> list[Any]:
    client = client_of(root)
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


# Files


def test_what_a_killed_writer_left_is_swept_and_what_a_live_one_writes_is_not(
    tmp_path: Path,
) -> None:
    code = "import os, sys; from pathlib import Path; from study.files.atomic import replacing\n"
    code += (
        "with replacing(Path(sys.argv[1])) as part: part.write_text('half'); os.kill(os.getpid(), "
        "9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a" / "x.json")], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob(".part-*"))) == 1
    with replacing(tmp_path / "y.db") as part:
        part.write_text("all")
        journal = part.with_name(f"{part.name}-journal")
        journal.write_text("its journal")
        sweep(tmp_path)
        assert part.exists()
        assert journal.exists()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["y.db"]


def test_a_database_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def killed(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE half (a)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_whole(tmp_path / "x.db", killed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
def test_a_kill_while_a_database_is_made_leaves_none(tmp_path: Path, name: str) -> None:
    """Killed at the moment it is renamed: all of it is written, and nothing of it is there."""
    code = "import os, sys; from pathlib import Path\n"
    code += "Path.replace = lambda *_: os.kill(os.getpid(), 9)\nroot = Path(sys.argv[1])\n"
    code += (
        "from study.search import open_storage\nfrom study.tracking.database import open_client\n"
    )
    code += f"{{'mlflow.db': open_client, 'optuna.db': open_storage}}['{name}'](root)"
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    sweep(tmp_path)
    assert not list(tmp_path.rglob(".part-*"))


def damaged_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database at all")


def damaged_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def half_made(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE experiments (a)")


DAMAGES = [damaged_header, damaged_page, truncated, half_made]


@pytest.mark.parametrize("damaged", DAMAGES, ids=lambda damaged: damaged.__name__)
def test_a_damaged_database_of_studies_is_named_with_what_to_do(
    root: Path, damaged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(root / "optuna.db")
    before = (root / "optuna.db").read_bytes()
    for command in (["run", *SMALL], ["table", "small"], ["sync", "small"], ["worker", *SMALL]):
        capsys.readouterr()
        assert call([*command, "--root", str(root)]) == 2
        said = capsys.readouterr().err
        assert all(text in said for text in ("optuna.db", "damaged", ".recover", "move it away"))
        assert "Traceback" not in said
    assert (root / "optuna.db").read_bytes() == before


@pytest.mark.parametrize("text", ['{"half', '{"scores": 1, "unknown": 2}', "[]", '"x"'])
def test_a_damaged_entry_of_a_whole_database_is_said_so(
    root: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(root / "optuna.db")) as connection, connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'outcome'", (text,)
        )
    assert call(["table", "small", "--root", str(root)]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in ("optuna.db", "damaged", "move it away"))


@pytest.mark.parametrize("damaged", DAMAGES, ids=lambda damaged: damaged.__name__)
def test_a_damaged_view_is_set_aside_and_made_anew(
    root: Path, damaged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(root / "mlflow.db")
    before = (root / "mlflow.db").read_bytes()
    open_client(root).search_experiments()
    said = capsys.readouterr().err
    (aside,) = root.glob("mlflow.db.damaged-*")
    assert all(text in said for text in ("was damaged", aside.name, "study sync"))
    assert aside.read_bytes() == before
    assert damage(root / "mlflow.db", ("experiments", "runs")) is None


@pytest.mark.slow
def test_a_study_goes_on_with_a_new_view_where_the_old_one_is_damaged(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged_page(root / "mlflow.db")
    assert call(["run", *SMALL, "--root", str(root), "--search.trials", "2"]) == 0
    assert "was damaged" in capsys.readouterr().err
    assert {run.info.status for run in runs_of(root)} == {"FINISHED"}
    shown = sum(run.data.tags["level"] == "evaluation" for run in runs_of(root))
    results = collect(root, "small")
    assert shown == len(results.shared) + sum(len(found) for found in results.searches.values())


# A copied root


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


# MLflow


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


# Owners of trials


def claimed_by(
    owner: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch, name: str = "a/confirm"
) -> Store:
    """A claim of the task as if another process had made it."""
    book = Store(open_storage(root), name)
    with monkeypatch.context() as patch:
        patch.setattr("study.search.store.this_process", lambda: owner)
        book._begin(TASK, {}, {})
    return book


def test_a_process_that_nobody_has_reaped_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    owner = {
        **this_process(),
        "pid": process.pid,
        "start": psutil.Process(process.pid).create_time(),
    }
    book = claimed_by(owner, tmp_path, monkeypatch)
    assert (book.running(), book.release_lost()) == ({TASK}, 0)
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert book.running() == set()
    assert book.release_lost() == 1
    process.wait()


def test_a_process_of_another_container_is_not_judged_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number means another process here, or none."""
    owner = {"host": socket.gethostname(), "space": "pid:[another]", "pid": 2**22 + 1, "start": 0.0}
    book = claimed_by(owner, tmp_path, monkeypatch)
    assert (book.running(), book.release_lost()) == ({TASK}, 0)
    assert [(each.task, each.host, each.pid) for each in book.remote()] == [
        (TASK, owner["host"], owner["pid"])
    ]
    assert book.release_host("elsewhere") == 0
    assert book.release_host(socket.gethostname()) == 1
    assert book.running() == set()


def test_what_this_host_is_at_work_on_is_not_released_by_its_name(tmp_path: Path) -> None:
    book = Store(open_storage(tmp_path), "a/confirm")
    with book.claim(TASK, "fd") as claim:
        assert claim is not None
        assert book.release_host(socket.gethostname()) == 0
        claim.keep(Outcome({"fd": 1.0}))
    assert [e.scores for e in book.evaluations()] == [{"fd": 1.0}]


def test_who_is_waited_for_is_said_and_can_be_released(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of a new seed set is another machine's: all else is done, then the command waits
    for it."""
    owner = {"host": "elsewhere", "pid": 12, "start": 0.0}
    book = Store(open_storage(root), "small/confirm")
    with monkeypatch.context() as patch:
        patch.setattr("study.search.store.this_process", lambda: owner)
        book._begin(Task.alone("none", 3, 180, 6), {}, {})
    more = [*SMALL, "--root", str(root), "--confirm.seed_sets", "3"]

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_look_again", stop)  # where it would wait
        assert call(["run", *more]) == 1
    said = capsys.readouterr().err
    wanted = (
        "waiting for 'base'",
        "process 12",
        "'elsewhere'",
        time.strftime("%Y-%m-%d"),
        "--release elsewhere",
    )
    assert [text for text in wanted if text not in said] == []
    assert call(["run", *more, "--release", "elsewhere"]) == 0
    assert table(root, capsys)[0]["seeds"] == [1, 2, 3]


# Signals


def started(*argv: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "study.cli", *argv]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def helper_of(process: subprocess.Popen[str]) -> psutil.Process:
    while True:
        assert process.poll() is None
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.Error):  # git and the like come and go
                if "worker" in child.cmdline():
                    return child
        time.sleep(0.02)


def busy(root: Path) -> set[int]:
    """The processes at work on a trial."""
    if not (root / "optuna.db").exists():
        return set()
    with closing(sqlite3.connect(root / "optuna.db")) as connection:
        found = connection.execute(
            "SELECT a.value_json FROM trials t JOIN trial_user_attributes a USING (trial_id) "
            "WHERE t.state = 'RUNNING' AND a.key = 'owner'"
        ).fetchall()
    return {json.loads(text)["pid"] for (text,) in found}


LONG = [
    "tests/small.yaml",
    "--extractors",
    "[digits]",
    "--sampler.steps",
    "32",
    "--confirm.samples",
    "1800",
]


def test_what_is_said_within_the_first_second_is_said_before_the_imports() -> None:
    """The line comes although the root cannot be used, which is found out later."""
    process = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "study.cli",
            "run",
            *SMALL,
            "--root",
            "/proc/nowhere",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = process.stderr.splitlines()
    said = next(
        i for i, line in enumerate(lines) if line.startswith("study: tests/small.yaml under")
    )
    assert not any(
        line.split("|")[-1].strip() in ("torch", "optuna", "pandas") for line in lines[:said]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
def test_a_signal_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    process = started("run", *LONG, "--workers", "2", "--root", str(tmp_path))
    helper = helper_of(process)
    while not {process.pid, helper.pid} <= busy(tmp_path):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted" in err
    assert not helper.is_running()
    assert busy(tmp_path) == set()
    if (tmp_path / "mlflow.db").exists():
        assert "RUNNING" not in {run.info.status for run in runs_of(tmp_path)}


@pytest.mark.slow
def test_a_helper_ends_with_a_killed_parent(tmp_path: Path) -> None:
    process = started("run", *LONG, "--workers", "2", "--root", str(tmp_path))
    helper = helper_of(process)
    while helper.pid not in busy(tmp_path):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    psutil.wait_procs([helper], 60)
    assert not helper.is_running()
    assert busy(tmp_path) <= {process.pid}  # which can no longer give up its own


@pytest.mark.slow
def test_a_study_finishes_by_itself_when_its_helper_is_killed(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the helper holds a trial, as the kernel does when memory runs out."""
    process = started("run", *SMALL, "--workers", "2", "--root", str(tmp_path))
    helper = helper_of(process)
    while helper.pid not in busy(tmp_path):
        assert process.poll() is None
        time.sleep(0.005)
    helper.kill()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0
    assert "ended with status -9" in err
    assert table(tmp_path, capsys) == table(finished, capsys)


def test_a_table_needs_no_permission_to_write_and_no_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing may be written SQLite is told so, and it would fail if it had to write all the
    same."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a lock was taken")

    expected = table(root, capsys)
    monkeypatch.setattr("study.files.sqlite.os.access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr("study.search.database.locked", never)
    monkeypatch.setattr("study.search.store.locked", never)
    assert table(root, capsys) == expected
    with (
        closing(connect(root / "optuna.db")) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM trials")
    with closing(connect(root / "mlflow.db")) as connection:  # in write-ahead mode
        assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] > 0


def test_reading_a_database_that_is_missing_makes_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no studies here"):
        collect(tmp_path, "small")
    assert list(tmp_path.iterdir()) == []
