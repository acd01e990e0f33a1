"""One process of a running study, which claims, evaluates and stores the tasks of the schedule."""

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
from study.records.damage import ERROR
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
REMINDED = 600  # seconds between two messages about the same remote process
Stage = Callable[[Results], Iterator[schedule.Wanted]]
Role = Literal["leader", "worker", "observer"]
OnEvaluation = Callable[[PairingSpec | None, Evaluation], Any]


class Worker:
    """One of the processes of a study; none directs the others, as the stored evaluations determine
    the next ones (`schedule`).

    role: leader, which may change the config; worker, whose config must match it; observer, which
    only evaluates. release: a host whose processes have ended, so that their tasks are free again.
    Raises InputError for a study begun with another config.
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
        self._notified: set[tuple[PairingSpec | None, int]] = set()
        self._reminded: dict[RemoteTrial, float] = {}  # time of the last message about each
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
                f"it with its own config ({config}), or change it with `study run`."
            )

    def subscribe(self, listener: OnEvaluation) -> None:
        """Call a listener once for every evaluation that is read from now on.

        These include earlier ones and those made by other processes.
        """
        self._listeners.append(listener)

    def remember(self, key: str, value: Any) -> Any:
        """Store a value with the study's evaluations, and return the stored value.

        A leader replaces an earlier value; other roles leave it.
        """
        kept = self._store(None).attributes()
        if self._role == "leader" or key not in kept:
            self._store(None).remember(key, value)
            return value
        return kept[key]

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value stored with the study's evaluations, computed and stored if there is none."""
        kept = self._store(None).attributes()
        if key not in kept:
            self._store(None).remember(key, compute())
        return self._store(None).attributes()[key]

    @property
    def results(self) -> Results:
        """The evaluations that this process has read; those of a search are read on access."""
        shared = {evaluation.task: evaluation for evaluation in self._evaluations(None)}
        return Results(self.spec, _Searches(self._evaluations, self.spec.pairings), shared)

    def expand(self) -> StudySpec:
        """Calibrate if there is a matrix; stores and returns the study with its pairings."""
        if self.spec.matrix is not None:
            self.work(schedule.calibration)
        expanded = schedule.expand(self.results)
        assert expanded is not None
        if not expanded.pairings:
            raise RunError(
                "matrix: no kind reached both levels of damage, so there is nothing to pair; "
                "`study calibrate` shows the damage that each reached."
            )
        self.spec = expanded
        self.remember("spec", spec_to_json(expanded))
        return expanded

    def work(self, stage: Stage, left: Callable[[Results], int] | None = None) -> None:
        """Evaluate until a stage needs nothing more, waiting for tasks that other processes hold.

        left: estimates the remaining cost, for the progress bar.
        """
        while (done := self._step(stage, left)) is not None:
            if not done:
                self._remind()
                self._look_again()
                time.sleep(PAUSE)

    def _step(self, stage: Stage, left: Callable[[Results], int] | None) -> bool | None:
        """Evaluate the first free task; None if no task is left, False if others hold them all."""
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
        with self._store(pairing).claim(task, self._metric_of(task), params, space) as claim:
            if claim is None:
                return False
            # At weight 1 a search evaluates the main alone, which is shared.
            known = results.shared.get(task) if pairing is not None and task.weight == 1 else None
            if known is None:
                self._progress.start(self._shown(task), task.samples)
                best = None if pairing is None else results.incumbent(pairing)
                claim.keep(self.evaluator.outcome(task, self._progress.samples, best))
            elif known.reason:
                raise RunError(known.reason)
            else:
                claim.keep(replace(known.outcome, network_evaluations=0))
        return True

    def _look_again(self) -> None:
        """Read again what other processes may have added, and release claims of ended processes."""
        for store in self._stores.values():
            store.refresh()
            store.release_lost()

    def _remind(self) -> None:
        """Name the remote processes that hold tasks; this one cannot see whether they are alive."""
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
            if (pairing, evaluation.number) not in self._notified:
                self._notified.add((pairing, evaluation.number))
                for listener in self._listeners:
                    listener(pairing, evaluation)
        return found

    def _show(self, pairing: PairingSpec | None, evaluation: Evaluation) -> None:
        """Report a finished evaluation, except the main's that a search copies at w = 1."""
        task = evaluation.task
        value = evaluation.scores.get(self._metric_of(task))
        if pairing is None or task.weight != 1:
            outcome = f"failed: {evaluation.reason}" if value is None else f"{value:.4g}"
            outcome += ", pruned" if evaluation.outcome.pruned else ""
            if task.endpoint_probe and value is not None:
                outcome += f" at w {evaluation.scores[f'endpoint_weight_{self._metric}']:g}"
            self._progress.finish(self._shown(task), task.cost, outcome, evaluation.started)

    def _metric_of(self, task: Task) -> str:
        """The score that is shown of a task, and kept as its trial's value."""
        return ERROR if task.mean_error else self._metric

    def _shown(self, task: Task) -> str:
        """The name of a task; with its steps if these are others than the study's."""
        other = task.steps != self.spec.sampler.steps
        return f"{task.name}, {task.steps} steps" if other else task.name

    def _store(self, pairing: PairingSpec | None) -> Store:
        if pairing not in self._stores:
            name = CONFIRM if pairing is None else pairing.name
            self._stores[pairing] = Store(self._storage, f"{self.spec.name}/{name}")
        return self._stores[pairing]


def begin_lock(root: Path, name: str) -> Path:
    """The lock that a process holds while it begins or deletes a study."""
    return root / "locks" / f"{name}.begin.lock"


class _Searches(Mapping[PairingSpec, list[Evaluation]]):
    """The evaluations of each pairing's search, read on access."""

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
