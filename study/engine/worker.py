"""A study under way: one process of it, which takes what is wanted, evaluates it, and keeps it."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from degradations import InputError, RunError
from study.engine import schedule
from study.evaluation.evaluator import Evaluator
from study.files.lock import locked
from study.files.places import report_folder
from study.records.results import Results
from study.records.task import Evaluation, Task
from study.report.progress import Progress
from study.search import (
    CONFIRM,
    RemoteTrial,
    Store,
    check_fingerprint,
    distributions,
    names,
    open_storage,
    parameters,
)
from study.specs import PairingSpec, StudySpec
from study.specs.serialisation import spec_to_json

PAUSE = 0.2  # seconds between looks at what other processes have finished
REMINDED = 600  # seconds between two messages about who is waited for
Stage = Callable[[Results], Iterator[schedule.Wanted]]
Role = Literal["leader", "worker", "observer"]
OnEvaluation = Callable[[PairingSpec | None, Evaluation], Any]


class Worker:
    """One of the processes of a study. What is wanted follows from what is kept (`schedule`), so
    workers need no master.

    role: leader, which may change the config; worker, whose config must match it; observer, which
    evaluates only. release: a host whose processes have ended, so that what they were at work on is
    free again. Raises InputError for a study begun with another config.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        root: Path,
        progress: Progress,
        role: Role = "leader",
        release: str | None = None,
    ) -> None:
        self.evaluator, self.spec, self.root = evaluator, evaluator.spec, root
        self._progress, self._role = progress, role
        self._metric = self.spec.metrics[0]
        self._storage = open_storage(root)
        self._stores: dict[PairingSpec | None, Store] = {}
        self._listeners: list[OnEvaluation] = [self._show]
        self._told: set[tuple[PairingSpec | None, int]] = set()
        self._reminded: dict[RemoteTrial, float] = {}  # when it was last said who is waited for
        with locked(begin_lock(root, self.spec.name)):
            self._begin(release)

    def _begin(self, release: str | None) -> None:
        name = self.spec.name
        kept = [Store(self._storage, each) for each in names(self._storage, name)]
        for each in kept:
            each.release_lost()
            if release is not None:
                each.release_host(release)
        begun = any(each.evaluations() or each.running() for each in kept)
        check_fingerprint(self._store(None), self.evaluator.fingerprint(), begun)
        asked = spec_to_json(self.spec)
        if self._role != "observer" and self.remember("asked", asked) != asked:
            config = report_folder(self.root, name) / "config.yaml"
            raise InputError(
                f"The study '{name}' was begun with other pairings or numbers of evaluations; join "
                f"it with its own config ({config}), or let `study run` change it."
            )

    def subscribe(self, listener: OnEvaluation) -> None:
        """Have a listener told once of every evaluation that is read from now on: known before,
        made here, or made by another process."""
        self._listeners.append(listener)

    def remember(self, key: str, value: Any) -> Any:
        """Keep something about the study beside its evaluations, and return what is kept.

        A leader replaces what is there already; others leave it.
        """
        kept = self._store(None).attributes()
        if self._role == "leader" or key not in kept:
            self._store(None).remember(key, value)
            return value
        return kept[key]

    @property
    def results(self) -> Results:
        """All that is known, as far as this process has looked; searches are read when they are
        asked for."""
        shared = {evaluation.task: evaluation for evaluation in self._evaluations(None)}
        return Results(self.spec, _Searches(self._evaluations, self.spec.pairings), shared)

    def expand(self) -> StudySpec:
        """Calibrate where there is a matrix; returns the study with its pairings, which is kept."""
        if self.spec.matrix is not None:
            self.work(schedule.calibration)
        expanded = schedule.expand(self.results)
        assert expanded is not None
        if not expanded.pairings:
            raise RunError(
                "no kind of the matrix reached both levels of damage: there is nothing to pair; "
                "`study calibrate` shows how far they came."
            )
        self.spec = expanded
        self.remember("spec", spec_to_json(expanded))
        return expanded

    def work(self, stage: Stage, left: Callable[[Results], int] | None = None) -> None:
        """Evaluate until a stage wants nothing more, waiting for what other processes are at work
        on.

        left: about what is still to do, for the progress.
        """
        while (done := self._step(stage, left)) is not None:
            if not done:
                self._remind()
                self._look_again()
                time.sleep(PAUSE)

    def _step(self, stage: Stage, left: Callable[[Results], int] | None) -> bool | None:
        """Evaluate the first task that is free; None where nothing is wanted, False where other
        processes have all."""
        found, results = None, self.results
        for pairing, task in stage(results):
            if left is not None and found is None:
                self._progress.expect(left(results))
            found = False
            free = task not in self._store(pairing).running()
            if free and self._take(pairing, task, results):
                return True
        return found

    def _take(self, pairing: PairingSpec | None, task: Task, results: Results) -> bool:
        """Evaluate a task, if it is still free."""
        params, space = {}, {}
        if pairing is not None:
            params = parameters(self.spec.search, pairing, task)
            space = distributions(self.spec.search, pairing)
        with self._store(pairing).claim(task, self._metric, params, space) as claim:
            if claim is None:
                return False
            # At weight 1 a search has the main alone, which is shared.
            known = results.shared.get(task) if pairing is not None and task.weight == 1 else None
            if known is None:
                self._progress.start(task.name, task.samples)
                claim.keep(self.evaluator.outcome(task, self._progress.samples))
            elif known.reason:
                raise RunError(known.reason)
            else:
                claim.keep(replace(known.outcome, evaluations=0))
        return True

    def _look_again(self) -> None:
        """Read again what others may have added to, and give up the claims of processes that have
        ended."""
        for store in self._stores.values():
            store.refresh()
            store.release_lost()

    def _remind(self) -> None:
        """Say who is waited for, where this process cannot see whether that one is alive."""
        for each in (each for store in self._stores.values() for each in store.remote()):
            if time.time() - self._reminded.get(each, -math.inf) < REMINDED:
                continue
            self._reminded[each] = time.time()
            began = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.began))
            self._progress.say(
                f"study: waiting for '{each.task.name}', which process {each.pid} on the machine "
                f"or container '{each.host}' began at {began}. Whether it is alive cannot be seen "
                f"from here: if it has ended, give the command again with --release {each.host}"
            )

    def _evaluations(self, pairing: PairingSpec | None) -> list[Evaluation]:
        found = self._store(pairing).evaluations()
        for evaluation in found:
            if (pairing, evaluation.number) not in self._told:
                self._told.add((pairing, evaluation.number))
                for listener in self._listeners:
                    listener(pairing, evaluation)
        return found

    def _show(self, pairing: PairingSpec | None, evaluation: Evaluation) -> None:
        """Show an evaluation's end; not the copy of the main's that a search has at weight 1."""
        task, value = evaluation.task, evaluation.scores.get(self._metric)
        if pairing is None or task.weight != 1:
            outcome = f"failed: {evaluation.reason}" if value is None else f"{value:.4g}"
            if task.ends and value is not None:
                outcome += f" at w {evaluation.scores[f'endpoint_weight_{self._metric}']:g}"
            self._progress.finish(task.name, task.cost, outcome, evaluation.started)

    def _store(self, pairing: PairingSpec | None) -> Store:
        if pairing not in self._stores:
            name = CONFIRM if pairing is None else pairing.name
            self._stores[pairing] = Store(self._storage, f"{self.spec.name}/{name}")
        return self._stores[pairing]


def begin_lock(root: Path, name: str) -> Path:
    """The lock that a process holds while it begins, or forgets, a study."""
    return root / "locks" / f"{name}.begin.lock"


class _Searches(Mapping[PairingSpec, list[Evaluation]]):
    """The evaluations of each pairing's search, read when they are asked for."""

    def __init__(
        self, read: Callable[[PairingSpec], list[Evaluation]], pairings: Sequence[PairingSpec]
    ) -> None:
        self._read, self._pairings = read, pairings

    def __getitem__(self, pairing: PairingSpec) -> list[Evaluation]:
        return self._read(pairing)

    def __iter__(self) -> Iterator[PairingSpec]:
        return iter(self._pairings)

    def __len__(self) -> int:
        return len(self._pairings)
