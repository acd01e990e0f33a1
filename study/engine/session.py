"""A study running in this process: its lock, worker, progress and helper processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from degradations import RunError
from study.engine import forecasts
from study.engine.about import describe
from study.engine.publish import Publisher
from study.engine.report import write
from study.engine.worker import Role, Worker, begin_lock
from study.evaluation.evaluator import Evaluator
from study.files.atomic import sweep
from study.files.lock import locked
from study.files.places import report_folder
from study.report.progress import Progress
from study.search import CONFIRM, Store, forget, open_storage
from study.specs import StudySpec
from study.specs.serialisation import spec_to_yaml

GRACE = 20  # seconds for a helper to end after a signal


@dataclass(frozen=True)
class Session:
    """A study running in this process, with what publishes it."""

    worker: Worker
    progress: Progress
    publisher: Publisher


@contextmanager
def opened(
    evaluator: Evaluator,
    root: Path,
    fresh: bool = False,
    role: Role = "leader",
    release: str | None = None,
) -> Iterator[Session]:
    """Open a study in one process that logs it to MLflow.

    However the block ends, no MLflow run is left with the status "running". role, release: see
    `Worker`.
    """
    spec = evaluator.spec
    with exclusive(root, spec.name), Progress(metric=spec.metrics[0]) as progress:
        sweep(root)
        if fresh:
            forget_study(spec.name, root)
        with locked(lock_of(root, spec.name, "workers"), shared=True):
            # Raises InputError before anything is logged.
            worker = Worker(evaluator, root, progress, role, release)
            about = worker.remember("about", describe(spec, evaluator))
            publisher = Publisher(root, spec, about, anew=fresh)
            worker.subscribe(publisher.evaluation)
            try:
                yield Session(worker, progress, publisher)
                publisher.close()
            except BaseException as error:
                progress.close()
                publisher.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise


def forget_study(name: str, root: Path) -> None:
    """Delete the evaluations and predictions of a study, but not which forecasts it had.

    Raises RunError if it has workers.
    """
    try:
        with locked(lock_of(root, name, "workers"), wait=False), locked(begin_lock(root, name)):
            storage = open_storage(root)
            seen = forecasts.seen(root, name)
            forget(storage, name)
            if seen:
                Store(storage, f"{name}/{CONFIRM}").remember(forecasts.KEY, seen)
    except BlockingIOError:
        raise RunError(
            f"the study '{name}' under {root} has running workers; end them before --fresh."
        ) from None
    (report_folder(root, name) / "probe.json").unlink(missing_ok=True)


@contextmanager
def helpers(spec: StudySpec, root: Path, count: int) -> Iterator[None]:
    """Start `count` more processes on the same study, and divide this one's threads among all."""
    if not count:
        yield
        return
    threads = max(1, torch.get_num_threads() // (count + 1))
    torch.set_num_threads(threads)
    config = write(report_folder(root, spec.name) / "config.yaml", spec_to_yaml(spec))
    command = [
        sys.executable,
        "-m",
        "study.cli",
        "worker",
        str(config),
        "--root",
        str(root),
        "--attached",
        *(["--allow-plugins"] if spec.plugins else []),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    logs = [config.with_name(f"worker-{number + 1}.log") for number in range(count)]
    started = []
    try:
        for path in logs:
            with path.open("w") as log:
                # A helper ends when its standard input closes, which it does however this
                # process ends.
                helper = subprocess.Popen(
                    command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
                )
            started.append(helper)
            threading.Thread(target=helper.wait, daemon=True).start()  # reaps it at once
        yield
        for helper, path in zip(started, logs, strict=True):
            if helper.wait():
                print(
                    f"study: a worker ended with status {helper.returncode} ({path}); its work was "
                    "done here",
                    file=sys.stderr,
                )
    finally:
        for helper in started:
            helper.terminate()
        for helper in started:
            try:
                helper.wait(GRACE)
            except subprocess.TimeoutExpired:
                helper.kill()
                helper.wait()


@contextmanager
def exclusive(root: Path, name: str) -> Iterator[None]:
    """Lock a study for one `run`. Raises RunError if another holds it; `study worker` can join."""
    try:
        with locked(lock_of(root, name, "run"), wait=False):
            yield
    except BlockingIOError:
        raise RunError(
            f"the study '{name}' under {root} is running in another process; wait, or end it, or "
            "add a process to it with `study worker`."
        ) from None


def lock_of(root: Path, name: str, use: str) -> Path:
    """The lock file of a study for a use: `run` or `workers`."""
    return root / "locks" / f"{name}.{use}.lock"
