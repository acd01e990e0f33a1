"""The storage that keeps what a search found, and claims of its tasks by several processes."""

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from degradations import InputError, RunError
from study.records.task import Outcome, Task, interval
from study.search import Store, check_fingerprint, existing_storage, forget, names, open_storage
from tests.searches import PAIRING, TASK


def store(root: Path, name: str = "a/confirm") -> Store:
    return Store(open_storage(root), name)


OUTCOME = Outcome(
    scores={"fd_pixels": 0.1 + 0.2, "kd_pixels": -1e-300, "endpoint_weight_fd_pixels": 1.75},
    replicates={"fd_pixels": [1 / 3, math.pi, 5e-324, 1.7976931348623157e308]},
    curve={"weight": [1.0, 1.05], "fd_pixels": [2 / 3, 0.1]},
    network_evaluations=2**53 - 1,
)
GUIDED = Task(
    "none", "noise(0.4)", "shared", 1.1500000000000001, 3, 100, 8, rule=interval(0.1 + 0.2, 1e2 / 3)
)


@pytest.mark.parametrize("task", [TASK, GUIDED, Task.endpoints(PAIRING, 0, 100, 8)])
def test_an_outcome_is_kept_to_the_last_bit(tmp_path: Path, task: Task) -> None:
    with store(tmp_path).claim(task, "fd_pixels") as claim:
        assert claim is not None
        claim.keep(OUTCOME)
    (found,) = Store(existing_storage(tmp_path), "a/confirm").evaluations()
    assert (found.task, found.outcome, found.reason, found.number) == (task, OUTCOME, "", 0)
    assert hash(found.task) == hash(task)
    assert found.started <= found.ended
    assert found.owner == socket.gethostname()


def test_a_failed_evaluation_is_kept_with_its_reason_and_not_made_again(tmp_path: Path) -> None:
    book = store(tmp_path)
    with book.claim(TASK, "fd"):
        raise RunError("not finite")
    (found,) = book.evaluations()
    assert (found.task, found.scores, found.reason) == (TASK, {}, "not finite")
    with book.claim(TASK, "fd") as again:
        assert again is None


def test_of_two_claims_the_second_gets_nothing(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path)
    with first.claim(TASK, "fd") as one:
        assert one is not None
        assert second.running() == {TASK}
        with second.claim(TASK, "fd") as other:
            assert other is None
        with second.claim(GUIDED, "fd") as elsewhere:  # another task is free
            assert elsewhere is not None
            elsewhere.keep(Outcome({"fd": 1.0}))
        one.keep(Outcome({"fd": 2.0}))
    with second.claim(TASK, "fd") as late:
        assert late is None
    assert second.running() == set()
    assert {e.task: e.scores["fd"] for e in second.evaluations()} == {TASK: 2.0, GUIDED: 1.0}


def test_processes_that_claim_at_once_share_the_tasks_out(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from study.records.task import *; from study.search "
        "import *\n"
        "n = Store(open_storage(Path(sys.argv[1])), 'a/confirm')\n"
        "print('ready', flush=True); input()\n"
        "for seed in range(5):\n"
        "    with n.claim(Task.single('none', seed, 100, 8), 'fd') as claim:\n"
        "        if claim: claim.keep(Outcome({'fd': float(seed)}))\n"
    )
    book, command = store(tmp_path), [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 2
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert [e.scores["fd"] for e in book.evaluations()] == list(range(5))


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def begin_as(owner: dict[str, Any], book: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a claim of the task as if another process had made it."""
    with monkeypatch.context() as patch:
        patch.setattr("study.search.store.this_process", lambda: owner)
        book._begin(TASK, {}, {})


@pytest.mark.parametrize(
    "pid", [ended_process, os.getpid], ids=["ended", "its number has been given to another"]
)
def test_the_claim_of_a_dead_process_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid: Callable[[], int]
) -> None:
    book = store(tmp_path)
    owner = {
        "host": socket.gethostname(),
        "pid": pid(),
        "start": psutil.Process().create_time() - 1000,
    }
    begin_as(owner, book, monkeypatch)
    assert book.running() == set()
    with book.claim(TASK, "fd") as claim:  # free before it is released
        assert claim is not None
        assert book.running() == {TASK}
        assert book.release_lost() == 1  # the dead one, not this one
        assert book.release_lost() == 0
        claim.keep(Outcome({"fd": 2.0}))
    assert [e.scores for e in book.evaluations()] == [{"fd": 2.0}]


def test_the_claim_of_another_machine_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = store(tmp_path)
    begin_as({"host": "elsewhere", "pid": ended_process(), "start": 0.0}, book, monkeypatch)
    assert (book.running(), book.release_lost()) == ({TASK}, 0)
    with book.claim(TASK, "fd") as claim:
        assert claim is None


def test_the_claim_of_a_killed_process_is_released(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from study.search import *; from "
        "tests.searches import TASK\n"
        "n = Store(open_storage(Path(sys.argv[1])), 'a/confirm')\n"
        "with n.claim(TASK, 'fd'): os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    book = store(tmp_path)
    with book.claim(Task.single("none", 1, 100, 8), "fd") as claim:
        assert claim is not None
        assert book.release_lost() == 1  # the dead one, not the one of this process
        claim.keep(Outcome({"fd": 2.0}))
    assert [e.scores for e in book.evaluations()] == [{"fd": 2.0}]


@pytest.mark.parametrize("how", [KeyboardInterrupt, RuntimeError, None])
def test_an_interrupted_evaluation_counts_for_nothing(
    tmp_path: Path, how: type[BaseException] | None
) -> None:
    book = store(tmp_path)
    if how is None:
        with book.claim(TASK, "fd"):
            pass  # keeps nothing
    else:
        with pytest.raises(how), book.claim(TASK, "fd"):
            raise how
    assert (book.evaluations(), book.running(), book.release_lost()) == ([], set(), 0)
    with book.claim(TASK, "fd") as again:
        assert again is not None
        again.keep(Outcome({"fd": 1.0}))
    assert len(book.evaluations()) == 1


def test_a_changed_study_is_rejected_by_key(tmp_path: Path) -> None:
    book = store(tmp_path)
    check_fingerprint(book, {"sampler.steps": 8, "seed": 0})
    check_fingerprint(book, {"seed": 0, "sampler.steps": 8})
    with pytest.raises(InputError, match=r"sampler.steps: 8 then, 16 now") as rejected:
        check_fingerprint(book, {"sampler.steps": 16, "seed": 0})
    assert "seed" not in str(rejected.value).split("\n")[1]


def test_forgetting_leaves_other_studies(tmp_path: Path) -> None:
    database = open_storage(tmp_path)
    for name in ("a/confirm", "a/x", "ab/confirm"):
        Store(database, name)
    assert sorted(names(database, "a")) == ["a/confirm", "a/x"]
    forget(database, "a")
    assert names(database) == ["ab/confirm"]


def test_reading_does_not_make_a_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no studies"):
        existing_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_determines_no_score_yet_may_change(tmp_path: Path) -> None:
    book = store(tmp_path)
    check_fingerprint(book, {"seed": 0})
    check_fingerprint(book, {"seed": 1}, begun=False)
    check_fingerprint(book, {"seed": 1})
    with pytest.raises(InputError, match="seed: 1 then, 0 now"):
        check_fingerprint(book, {"seed": 0})
