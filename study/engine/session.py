"""A study under way in this process: its lock, its worker, its progress, its helpers."""

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
from study.engine.about import describe
from study.engine.publish import Publisher
from study.engine.report import write
from study.engine.worker import Role, Worker, begin_lock
from study.evaluation.evaluator import Evaluator
from study.files.atomic import sweep
from study.files.lock import locked
from study.files.places import report_folder
from study.report.progress import Progress
from study.search import forget, open_storage
from study.specs import StudySpec
from study.specs.serialisation import spec_to_yaml

GRACE = 20  # seconds that a helper has to end after a signal


@dataclass(frozen=True)
class Open:
    """A study under way in this process, which shows it."""

    worker: Worker
    progress: Progress
    published: Publisher


@contextmanager
def opened(
    evaluator: Evaluator,
    root: Path,
    fresh: bool = False,
    role: Role = "leader",
    release: str | None = None,
) -> Iterator[Open]:
    """A study for one process that shows it in MLflow. Whatever ends the block, no run is left
    looking as if it ran.

    role, release: see `Worker`.
    """
    spec = evaluator.spec
    with alone(root, spec.name), Progress(metric=spec.metrics[0]) as progress:
        sweep(root)
        if fresh:
            _forget(spec.name, root)
        with locked(lock_of(root, spec.name, "workers"), shared=True):
            # Refuses what is to be refused before anything is shown.
            worker = Worker(evaluator, root, progress, role, release)
            about = worker.remember("about", describe(spec, evaluator))
            published = Publisher(root, spec, about, anew=fresh)
            worker.subscribe(published.evaluation)
            try:
                yield Open(worker, progress, published)
                published.close()
            except BaseException as error:
                progress.close()
                published.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise


def _forget(name: str, root: Path) -> None:
    """Discard what is kept of a study, and what was predicted of it. Raises RunError where workers
    are at work on it."""
    try:
        with locked(lock_of(root, name, "workers"), wait=False), locked(begin_lock(root, name)):
            forget(open_storage(root), name)
    except BlockingIOError:
        raise RunError(
            f"the study '{name}' under {root} has workers, and cannot be begun afresh: end them."
        ) from None
    (report_folder(root, name) / "probe.json").unlink(missing_ok=True)


@contextmanager
def helpers(spec: StudySpec, root: Path, count: int) -> Iterator[None]:
    """So many further processes that work on the same study; the threads of this one are divided
    among all."""
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
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    logs = [config.with_name(f"worker-{number + 1}.log") for number in range(count)]
    started = []
    try:
        for path in logs:
            with path.open("w") as log:
                # Its standard input closes when this process ends, however it ends, and it ends
                # with it.
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
def alone(root: Path, name: str) -> Iterator[None]:
    """Hold a study for one `run`. Raises RunError where another has it: `study worker` is what
    joins it."""
    try:
        with locked(lock_of(root, name, "run"), wait=False):
            yield
    except BlockingIOError:
        raise RunError(
            f"the study '{name}' under {root} is running in another process: wait, or end it; "
            "`study worker` adds a process to it."
        ) from None


def lock_of(root: Path, name: str, use: str) -> Path:
    return root / "locks" / f"{name}.{use}.lock"
