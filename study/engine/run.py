"""The commands that make a study and go on with it: run, worker, calibrate, sync."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from degradations import Failed, Kind, Refused, kinds
from study.checkpoints import Base
from study.checkpoints.names import split
from study.engine import schedule
from study.engine.bases import base_of, by_recipe, resolve, untrained
from study.engine.calibrate import Calibration, calibrate, first_strength
from study.engine.memory import check_memory
from study.engine.publish import Published, describe, write
from study.engine.worker import Role, Worker
from study.evaluation.evaluator import Evaluator, suffers
from study.files.atomic import sweep
from study.files.lock import locked
from study.metrics import load_extractor
from study.parallel.group import agree, follow, group, leading
from study.records.task import Evaluation
from study.report import strengths
from study.report.progress import Progress
from study.results import collect, report_folder, spec_to_yaml
from study.search import CONFIRM, Notebook, open_storage
from study.specs import PairingSpec, StudySpec

GRACE = 20  # seconds that a helper has to end after a signal


def run(
    spec: StudySpec, root: Path, retrain: bool = False, fresh: bool = False, workers: int = 1,
    release: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """A study, or what is left of it, by one process or several; returns the rows of its table.

    In a launched group (torchrun, SLURM) the processes share every evaluation; only the first keeps, shows and returns
    anything. release: see `Worker`. Raises Failed where it is running already.
    """
    want_pairings(spec)
    evaluator = evaluator_of(spec, root, retrain)  # refuses bad input before anything is written
    agree("what determines the scores", evaluator.fingerprint())
    if group().rank > 0:
        follow(evaluator)
        return []
    with (
        leading(evaluator),
        opened(evaluator, root, fresh, release=release) as study,
        _helpers(evaluator.spec, root, workers - 1),
    ):
        search(study.worker, study.progress)
        return study.published.report(study.worker.results, evaluator)


def work(spec: StudySpec, root: Path, release: str | None = None) -> None:
    """One more process for a study: evaluates until nothing is wanted; `run` or `sync` shows what was found."""
    want_pairings(spec)
    evaluator = evaluator_of(spec, root)
    with locked(_lock(root, spec.name, "workers"), shared=True), Progress(metric=spec.metrics[0]) as progress:
        worker = Worker(evaluator, root, role="joins", release=release)
        worker.heard = _telling(progress, worker.metric)
        search(worker, progress)


def find_strengths(spec: StudySpec, root: Path) -> list[Calibration]:
    """The strengths at which the kinds of a study do equal damage."""
    evaluator = evaluator_of(spec, root, calibrates=True)
    with opened(evaluator, root, role="looks") as study:
        study.worker.work(schedule.calibration, study.progress)
        found = [calibrate(study.worker.results, kind) for kind in evaluator.spec.calibrate.kinds]
        text = strengths.render(found, spec.calibrate.levels, "json")
        kept = write(report_folder(root, spec.name) / "calibration.json", text)
        study.published.files([kept], "report")
        return found


def want_pairings(spec: StudySpec) -> None:
    """Raises Refused for a study that has nothing to pair."""
    if not spec.pairings and not spec.matrix:
        raise Refused("pairings: found none, wanted at least one, such as {main: noise(0.1), guide: noise(0.2)}.")


def evaluator_of(spec: StudySpec, root: Path, retrain: bool = False, calibrates: bool = False) -> Evaluator:
    """What evaluates a study's tasks; its base, and the variants that it names, are trained where they are not yet.

    calibrates: whether kinds are calibrated although there is no matrix. Raises Refused before any training for names
    that are no degradations, or that the base cannot suffer.
    """
    own = untrained(spec, root=root)
    check_memory(spec, own)
    for extractor in spec.extractors if len(own.data.samples) else ():
        load_extractor(extractor, root)(own.data.samples[:2])
    for name in spec.named:
        variant, degradation = split(name)
        suffers(own if variant is None else untrained(spec, str(variant), root), degradation)
    check_strengths(spec)
    if spec.matrix is not None or calibrates or spec.calibrate.kinds:
        able = [kind for kind in spec.calibrate.kinds or kinds() if is_able(own, kind, bool(spec.calibrate.kinds))]
        spec = replace(spec, calibrate=replace(spec.calibrate, kinds=tuple(able)))
    base = base_of(spec, root, retrain)
    if retrain:
        spec = by_recipe(spec)  # under which it is found from now on, by workers too
    spec = replace(spec, precision=base.precision)
    return Evaluator(spec, base, lambda name: resolve(name, spec, root), root)


def check_strengths(spec: StudySpec) -> None:
    """Raises Refused for guides whose strength cannot be searched between the ends that are asked for."""
    for pairing in spec.pairings if spec.search.strength else ():
        guide, ends = split(pairing.guide)[1], spec.search.strength
        assert ends is not None
        if "@" in pairing.guide or not isinstance(guide, Kind):
            raise Refused(f"search.strength: the guide {pairing.guide} is not one kind with a strength.")
        for end in ends:
            replace(guide, strength=end)  # refuses what is outside the kind's range
        if not ends[0] <= guide.strength <= ends[1]:
            raise Refused(f"search.strength: found {ends}, which the guide {pairing.guide} lies outside of.")


def is_able(base: Base, kind: str, wanted: bool) -> bool:
    """Whether a base can suffer a kind. Raises Refused where it cannot, and the kind is wanted."""
    if kind not in kinds():
        raise Refused(f"calibrate.kinds: '{kind}' is not a kind of degradation; known are {', '.join(kinds())}.")
    try:
        suffers(base, kinds()[kind](first_strength(kinds()[kind])))
    except Refused:
        if wanted:
            raise
        return False
    return True


@dataclass(frozen=True)
class Open:
    """A study under way in this process, which shows it."""

    worker: Worker
    progress: Progress
    published: Published


def search(worker: Worker, progress: Progress) -> None:
    """Calibrate where there is a matrix, search every pairing, confirm."""
    worker.expand(progress)
    ended: schedule.Ended = {}
    is_random = worker.evaluator.is_random
    worker.work(
        lambda results: schedule.study(results, is_random, ended),
        progress,
        lambda results: schedule.left(results, is_random, ended),
    )


@contextmanager
def opened(
    evaluator: Evaluator, root: Path, fresh: bool = False, role: Role = "leads", release: str | None = None
) -> Iterator[Open]:
    """A study for one process that shows it in MLflow. Whatever ends the block, no run is left looking as if it ran.

    role, release: see `Worker`.
    """
    spec = evaluator.spec
    with alone(root, spec.name), Progress(metric=spec.metrics[0]) as progress:
        sweep(root)
        if fresh:
            _forget(evaluator, root)
        with locked(_lock(root, spec.name, "workers"), shared=True):
            # Refuses what is to be refused before anything is shown.
            worker = Worker(evaluator, root, role=role, release=release)
            about, tell = worker.remember("about", describe(spec, evaluator)), _telling(progress, worker.metric)
            published = Published(root, spec, about, anew=fresh)

            def heard(pairing: PairingSpec | None, evaluation: Evaluation) -> None:
                published.evaluation(pairing, evaluation)
                tell(pairing, evaluation)

            worker.heard = heard
            try:
                yield Open(worker, progress, published)
                published.close()
            except BaseException as error:
                progress.close()
                published.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise


def _forget(evaluator: Evaluator, root: Path) -> None:
    """Discard what is kept of a study, and what was foretold of it. Raises Failed where workers are at work on it."""
    name = evaluator.spec.name
    try:
        with locked(_lock(root, name, "workers"), wait=False):
            Worker(evaluator, root, fresh=True)
    except BlockingIOError:
        raise Failed(f"the study '{name}' under {root} has workers, and cannot be begun afresh: end them.") from None
    (report_folder(root, name) / "probe.json").unlink(missing_ok=True)


def _telling(progress: Progress, metric: str) -> Any:
    """What shows an evaluation's end; the copy of a main's evaluation at weight 1 of a search is not shown."""

    def tell(pairing: PairingSpec | None, evaluation: Evaluation) -> None:
        task, value = evaluation.task, evaluation.scores.get(metric)
        if pairing is None or task.weight != 1:
            outcome = f"failed: {evaluation.reason}" if value is None else f"{value:.4g}"
            if task.ends and value is not None:
                outcome += f" at w {evaluation.scores[f'endpoint_weight_{metric}']:g}"
            progress.finish(task.name, task.cost, outcome, evaluation.started)

    return tell


@contextmanager
def _helpers(spec: StudySpec, root: Path, count: int) -> Iterator[None]:
    """So many further processes that work on the same study; the threads of this one are divided among all."""
    if not count:
        yield
        return
    threads = max(1, torch.get_num_threads() // (count + 1))
    torch.set_num_threads(threads)
    config = write(report_folder(root, spec.name) / "config.yaml", spec_to_yaml(spec))
    command = [sys.executable, "-m", "study.cli", "worker", str(config), "--root", str(root), "--attached"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    logs = [config.with_name(f"worker-{number + 1}.log") for number in range(count)]
    started = []
    try:
        for path in logs:
            with path.open("w") as log:
                # Its standard input closes when this process ends, however it ends, and it ends with it.
                helper = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
            started.append(helper)
            threading.Thread(target=helper.wait, daemon=True).start()  # reaps it at once
        yield
        for helper, path in zip(started, logs, strict=True):
            if helper.wait():
                print(
                    f"study: a worker ended with status {helper.returncode} ({path}); its work was done here",
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


def sync(name: str, root: Path) -> None:
    """Rebuild MLflow's view of a study from the search's storage: runs, parameters, metrics, tables, curves.

    Raises Failed while the study is running.
    """
    results = collect(root, name)
    with alone(root, name):
        about = Notebook(open_storage(root), f"{name}/{CONFIRM}").attributes().get("about", ({}, {}))
        published = Published(root, results.spec, about, anew=True)
        for pairing, found in results.searches.items():
            for evaluation in found:
                published.evaluation(pairing, evaluation)
        for evaluation in results.shared.values():
            published.evaluation(None, evaluation)
        published.report(results)
        published.close()
    if published.problem is not None:
        raise Failed(f"MLflow's view of '{name}' could not be rebuilt: {published.problem}")


@contextmanager
def alone(root: Path, name: str) -> Iterator[None]:
    """Hold a study for one `run`. Raises Failed where another has it: `study worker` is what joins it."""
    try:
        with locked(_lock(root, name, "run"), wait=False):
            yield
    except BlockingIOError:
        raise Failed(
            f"the study '{name}' under {root} is running in another process: wait, or end it; "
            "`study worker` adds a process to it."
        ) from None


def _lock(root: Path, name: str, use: str) -> Path:
    return root / "locks" / f"{name}.{use}.lock"
