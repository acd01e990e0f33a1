"""Kills processes of a small study at random, and counts what is lost, left behind or hangs:
everything should be 0.

    python benchmarks/kills.py [KILLS] [SEED]

A round begins with an empty root. `run --workers 2`, sometimes `probe` or `calibrate` instead,
often with a worker beside it, is started again and again, and after a random time one of the
processes is sent SIGKILL, SIGTERM or SIGHUP: the command itself, its helper, or the worker. At the
end of a round `run` is given once more, which has to leave nothing that looks as if it ran, then
`probe` and `calibrate`, and all scores are compared with an undisturbed study's.
"""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from study.search import Store, existing_storage, names

CONFIG = Path(__file__).parent.parent / "tests" / "small.yaml"
STUDY = [sys.executable, "-m", "study.cli"]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # with which scores are equal to the last bit
OPTIONS = {
    "run": ["--workers", "2"],
    "probe": [],
    "calibrate": ["--calibrate.kinds", "[noise]", "--calibrate.levels", "[1.5]"],
    "worker": [],
}
PER_ROUND, LONGEST = 6, 14.0  # kills a round; seconds after the start within which a kill comes
PATIENCE = 300  # seconds after which a process that should end is said to hang

Scores = dict[tuple[str, str], dict[str, float]]


def main() -> int:
    kills, seed = (
        int(sys.argv[1]) if len(sys.argv) > 1 else 200,
        int(sys.argv[2]) if len(sys.argv) > 2 else 0,
    )
    chance, found = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Path(folder) / "undisturbed"
        for command in ("run", "probe", "calibrate"):
            assert _start(command, undisturbed).wait() == 0, (undisturbed / "log").read_text()
        wanted, number = _scores(undisturbed), 0
        while found["kills"] < kills:
            number += 1
            _round(
                Path(folder) / str(number),
                min(PER_ROUND, kills - found["kills"]),
                chance,
                found,
                wanted,
            )
            print(dict(found), file=sys.stderr, flush=True)
    for key in (
        "kills",
        "run",
        "probe",
        "calibrate",
        "rounds",
        "hangs",
        "lost",
        "changed",
        "running",
        "stale",
        "failed",
        "alive",
    ):
        print(f"{key} {found[key]}")
    return int(
        any(
            found[key]
            for key in ("hangs", "lost", "changed", "running", "stale", "failed", "alive")
        )
    )


def _round(
    root: Path, kills: int, chance: random.Random, found: Counter[str], wanted: Scores
) -> None:
    kept: Scores = {}
    for _ in range(kills):
        command = chance.choices(("run", "probe", "calibrate"), (4, 1, 1))[0]
        found[command] += 1
        run = _start(command, root)
        worker = _start("worker", root) if chance.random() < 0.5 else None
        time.sleep(chance.uniform(0, LONGEST))
        victims = [p for p in (run, worker, *_children(run)) if p is not None and _lives(p)]
        if victims:
            chance.choice(victims).send_signal(chance.choice(SIGNALS))
        children = _children(run)
        if run.poll() is None and chance.random() < 0.5:
            run.send_signal(chance.choice(SIGNALS))  # or it has to end by itself
        found["hangs"] += _hangs(run)
        _, alive = psutil.wait_procs(children, 30)
        found["alive"] += len(alive)
        if worker is not None:
            found["hangs"] += _hangs(worker)
        now = _scores(root)
        found["lost"] += sum(now.get(key) != scores for key, scores in kept.items())
        kept = now
        found["kills"] += 1
    found["rounds"] += 1
    for command in ("run", "probe", "calibrate"):
        last = _start(command, root)
        found["hangs"] += _hangs(last)
        found["failed"] += last.returncode != 0
        found["running"] += _running(root)
        stale = [
            path
            for path in root.rglob("*")
            if ".part-" in path.name or path.name.endswith(("-journal", "-wal", "-shm"))
        ]
        found["stale"] += len(stale)
        if last.returncode or stale:
            print(
                command, last.returncode, stale, (root / "log").read_text()[-2000:], file=sys.stderr
            )
    found["changed"] += _scores(root) != wanted


def _start(command: str, root: Path) -> subprocess.Popen[bytes]:
    root.mkdir(exist_ok=True)
    with (root / "log").open("ab") as log:
        command_line = [*STUDY, command, str(CONFIG), "--root", str(root), *OPTIONS[command]]
        return subprocess.Popen(command_line, stdout=log, stderr=log, env=ONE_THREAD)


def _children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The helpers of a process, not git and the like."""
    try:
        found = psutil.Process(process.pid).children()
        return [child for child in found if "worker" in child.cmdline()]
    except psutil.Error:
        return []


def _lives(process: Any) -> bool:
    return process.poll() is None if isinstance(process, subprocess.Popen) else process.is_running()


def _hangs(process: subprocess.Popen[bytes]) -> int:
    try:
        process.wait(PATIENCE)
        return 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 1


def _scores(root: Path) -> Scores:
    if not (root / "optuna.db").exists():
        return {}
    storage = existing_storage(root)
    found = {
        (name, repr(evaluation.task)): dict(evaluation.scores)
        for name in names(storage, "small")
        for evaluation in Store(storage, name).evaluations()
    }
    storage.engine.dispose()
    return found


def _running(root: Path) -> int:
    """Trials and MLflow's runs that look as if they were running."""
    trials = _count(root / "optuna.db", "SELECT count(*) FROM trials WHERE state = 'RUNNING'")
    return trials + _count(root / "mlflow.db", "SELECT count(*) FROM runs WHERE status = 'RUNNING'")


def _count(database: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(query).fetchone()[0])


if __name__ == "__main__":
    sys.exit(main())
