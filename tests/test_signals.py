"""Commands that are interrupted, or one of whose processes is killed."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

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
