"""Commands that are interrupted, or one of whose processes is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.storages import RDBStorage

from study.engine.publish import Publisher
from study.parallel.signals import ENDING, interruptible
from study.records.task import Outcome
from study.search import Store, open_storage
from study.specs import StudySpec
from study.tracking import Tracking
from tests.searches import TASK
from tests.small_study import SMALL, runs_of, table


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
        i for i, line in enumerate(lines) if line.startswith("study: config tests/small.yaml")
    )
    assert not any(
        line.split("|")[-1].strip() in ("torch", "optuna", "pandas") for line in lines[:said]
    )


def interrupting(monkeypatch: pytest.MonkeyPatch, kind: type, method: str, number: int) -> None:
    """Send this process a signal as soon as a method has done its work, before it returns."""
    act = getattr(kind, method)

    def acts(*args: Any, **kwargs: Any) -> Any:
        found = act(*args, **kwargs)
        os.kill(os.getpid(), number)
        return found

    monkeypatch.setattr(kind, method, acts)


@pytest.mark.parametrize("number", ENDING, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize(
    ("method", "is_kept"), [("create_new_trial", False), ("set_trial_user_attr", True)]
)
def test_a_signal_within_a_claim_leaves_no_trial_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, is_kept: bool, number: int
) -> None:
    """Just after its trial was written, and just before its outcome has been."""
    store = Store(open_storage(tmp_path), "a/confirm")
    interrupting(monkeypatch, RDBStorage, method, number)

    def evaluate() -> None:
        with store.claim(TASK, "fd") as claim:
            assert claim is not None
            claim.keep(Outcome({"fd": 1.0}))

    with pytest.raises(KeyboardInterrupt), interruptible():
        evaluate()
    assert busy(tmp_path) == set()
    assert [e.scores for e in store.evaluations()] == ([{"fd": 1.0}] if is_kept else [])


@pytest.mark.parametrize("method", ["create_run", "update_run"])
def test_a_signal_while_mlflow_is_opened_leaves_no_run_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from mlflow import MlflowClient

    if method == "update_run":  # of a run that exists
        Tracking(tmp_path, "study").close()
    interrupting(monkeypatch, MlflowClient, method, signal.SIGTERM)
    publisher = Publisher(tmp_path, StudySpec("study"), ({}, {}))
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(KeyboardInterrupt), interruptible():
        publisher.files([file], "report")
    publisher.close("KILLED")
    assert {run.info.status for run in runs_of(tmp_path, "study")} == {"KILLED"}


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


LOST = """
import time
from study.parallel import signals

class Lost:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(60)  # what a handler raises here is lost

signals.AGAIN = 0.2
with signals.interruptible():
    signals.end_with_parent()
    Lost()
    time.sleep(60)
"""


def test_a_lost_signal_of_a_parents_end_is_sent_again() -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LOST]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    _, err = process.communicate(timeout=30)  # closes its standard input
    assert process.returncode == -signal.SIGINT
    assert "Exception ignored in: <function Lost.__del__" in err


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
