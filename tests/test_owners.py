"""Owners of trials: which are dead, which are elsewhere, and who is waited for."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from study.cli.main import call
from study.engine.worker import Worker
from study.records.task import Outcome, Task
from study.search import Store, open_storage
from study.search.owner import this_process
from tests.small_study import SMALL, table

TASK = Task.single("none", 0, 100, 8)


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
        book._begin(Task.single("none", 3, 180, 6), {}, {})
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
