"""The commands that begin, resume and publish a study: run, worker, calibrate, sync."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from degradations import RunError
from study.engine import schedule
from study.engine.calibrate import Calibration, calibrate
from study.engine.check import evaluator_of, require_pairings
from study.engine.forecasts import keep, text_of
from study.engine.publish import Publisher
from study.engine.report import write
from study.engine.session import exclusive, helpers, lock_of, opened
from study.engine.worker import Worker
from study.evaluation.evaluator import Evaluator
from study.evaluation.floors import floors_of
from study.files.lock import locked
from study.files.places import report_folder
from study.parallel.group import as_rank_zero, check_equal, group, serve
from study.report import strengths
from study.report.progress import Progress
from study.search import CONFIRM, Store, open_storage
from study.search.collect import collect
from study.specs import StudySpec


def run(
    spec: StudySpec,
    root: Path,
    retrain: bool = False,
    fresh: bool = False,
    workers: int = 1,
    release: str | None = None,
    evaluator: Evaluator | None = None,
) -> list[dict[str, Any]]:
    """Run or resume a study with one or several processes; returns the rows of its table.

    In a launched group (torchrun, SLURM) the processes share every evaluation; only the first one
    stores, shows and returns results. release: see `Worker`. evaluator: the study's, if there is
    one already. Raises RunError if the study is already running.
    """
    require_pairings(spec)
    # raises InputError before anything is written
    text_of(spec)
    evaluator = evaluator or evaluator_of(spec, root, retrain)
    check_equal("what determines the scores", evaluator.fingerprint())
    if group().rank > 0:
        serve(evaluator)
        return []
    with as_rank_zero(), opened(evaluator, root, fresh, release=release) as study:
        versions = keep(study.worker, evaluator.spec)
        with helpers(evaluator.spec, root, workers - 1):
            search(study.worker)
        n = spec.confirm.samples
        floors = study.worker.once(f"floors of {n}", lambda: floors_of(evaluator, n))
        results = replace(study.worker.results, floors=floors, forecasts=versions)
        return study.publisher.report(results, evaluator)


def work(spec: StudySpec, root: Path, release: str | None = None) -> None:
    """Add a process to a study: evaluates until nothing is left; `run` or `sync` publishes it."""
    require_pairings(spec)
    evaluator = evaluator_of(spec, root)
    with (
        locked(lock_of(root, spec.name, "workers"), shared=True),
        Progress(metric=spec.metrics[0]) as progress,
    ):
        search(Worker(evaluator, root, progress, "worker", release))


def find_strengths(spec: StudySpec, root: Path) -> list[Calibration]:
    """The strengths at which the kinds of a study do equal damage."""
    evaluator = evaluator_of(spec, root, calibrates=True)
    with opened(evaluator, root, role="observer") as study:
        study.worker.work(schedule.calibration)
        found = [calibrate(study.worker.results, kind) for kind in evaluator.spec.calibrate.kinds]
        text = strengths.render(found, spec.calibrate, "json")
        kept = write(report_folder(root, spec.name) / "calibration.json", text)
        study.publisher.files([kept], "report")
        return found


def search(worker: Worker) -> None:
    """Calibrate if there is a matrix, search every pairing, and confirm."""
    worker.expand()
    ended: schedule.Ended = {}
    is_stochastic = worker.evaluator.is_stochastic
    worker.work(
        lambda results: schedule.study(results, is_stochastic, ended),
        lambda results: schedule.left(results, is_stochastic, ended),
    )


def sync(name: str, root: Path) -> None:
    """Rebuild MLflow's records of a study from the search's storage.

    These are runs, parameters, metrics, tables and curves. Raises RunError while the study is
    running.
    """
    results = collect(root, name)
    with exclusive(root, name):
        about = Store(open_storage(root), f"{name}/{CONFIRM}").attributes().get("about", ({}, {}))
        publisher = Publisher(root, results.spec, about, anew=True)
        for pairing, found in results.searches.items():
            for evaluation in found:
                publisher.evaluation(pairing, evaluation)
        for evaluation in results.shared.values():
            publisher.evaluation(None, evaluation)
        publisher.report(results)
        publisher.close()
    if publisher.problem is not None:
        raise RunError(f"MLflow's records of '{name}' could not be rebuilt: {publisher.problem}")
