"""A study under way: one process of it, which takes what is wanted, evaluates it, and keeps it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from degradations import Failed, Refused
from study import plan
from study.files.lock import locked
from study.modules.evaluate import Evaluator
from study.records import Evaluation, Results, Task
from study.report.progress import Progress
from study.results import report_folder, spec_to_json
from study.search import CONFIRM, Notebook, check_fingerprint, distributions, forget, names, open_storage, parameters
from study.specs import PairingSpec, StudySpec

PAUSE = 0.2  # seconds between looks at what other processes have finished
Stage = Callable[[Results], Iterator[plan.Wanted]]
Role = Literal["leads", "joins", "looks"]
Heard = Callable[[PairingSpec | None, Evaluation], Any]


class Worker:
    """One of the processes of a study. What is wanted follows from what is kept (`plan`), so workers need no master.

    role: leads, and tables show the study as it has it; joins, and must have the same; or looks, and evaluates for a
    purpose of its own. `heard`, where it is set, is told once of every evaluation: known before, made here, or made by
    another process. Raises Refused for a study begun with another config.
    """

    def __init__(self, evaluator: Evaluator, root: Path, fresh: bool = False, role: Role = "leads") -> None:
        self.evaluator, self.spec, self.root = evaluator, evaluator.spec, root
        self.metric = self.spec.metrics[0]
        self._role = role
        self.heard: Heard | None = None
        self._storage = open_storage(root)
        self._notebooks: dict[PairingSpec | None, Notebook] = {}
        self._known: dict[PairingSpec | None, list[Evaluation]] = {}  # as far as this process has looked
        self._told: set[tuple[PairingSpec | None, int]] = set()
        with locked(root / "locks" / f"{self.spec.name}.begin.lock"):
            self._begin(fresh)

    def _begin(self, fresh: bool) -> None:
        name = self.spec.name
        if fresh:
            forget(self._storage, name)
        kept = [Notebook(self._storage, each) for each in names(self._storage, name)]
        for each in kept:
            each.release_lost()
        begun = any(each.evaluations() or each.running() for each in kept)
        check_fingerprint(self._notebook(None), self.evaluator.fingerprint(), begun)
        asked = spec_to_json(self.spec)
        if self._role != "looks" and self.remember("asked", asked) != asked:
            raise Refused(
                f"The study '{name}' was begun with other pairings or numbers of evaluations; join it with its own "
                f"config ({report_folder(self.root, name) / 'config.yaml'}), or let `study run` change it."
            )

    def remember(self, key: str, value: Any) -> Any:
        """Keep something about the study beside its evaluations, and return what is kept.

        The process that leads replaces what is there already; another leaves it.
        """
        kept = self._notebook(None).attributes()
        if self._role == "leads" or key not in kept:
            self._notebook(None).remember(key, value)
            return value
        return kept[key]

    @property
    def results(self) -> Results:
        """All that is known, as far as this process has looked; searches are read when they are asked for."""
        shared = {evaluation.task: evaluation for evaluation in self._evaluations(None)}
        return Results(self.spec, _Searches(self._evaluations, self.spec.pairings), shared)

    def expand(self, progress: Progress) -> StudySpec:
        """Calibrate where there is a matrix; returns the study with its pairings, which is kept."""
        if self.spec.matrix is not None:
            self.work(plan.calibration, progress)
        expanded = plan.expand(self.results)
        assert expanded is not None
        if not expanded.pairings:
            raise Failed("no kind of the matrix reached both levels of damage: there is nothing to pair; `study "
                         "calibrate` shows how far they came.")  # fmt: skip
        self.spec = expanded
        self.remember("spec", spec_to_json(expanded))
        return expanded

    def work(self, stage: Stage, progress: Progress) -> None:
        """Evaluate until a stage wants nothing more, waiting for what other processes are at work on."""
        while (done := self._step(stage, progress)) is not None:
            if not done:
                self._look_again()
                time.sleep(PAUSE)

    def _step(self, stage: Stage, progress: Progress) -> bool | None:
        """Evaluate the first task that is free; None where nothing is wanted, False where other processes have all."""
        found: bool | None = None
        for pairing, task in stage(self.results):
            found = False
            if task not in self._notebook(pairing).running():
                if self._take(pairing, task, progress):
                    return True
                self._known.pop(pairing, None)  # another process was first: it knows more than was read here
        return found

    def _take(self, pairing: PairingSpec | None, task: Task, progress: Progress) -> bool:
        params, space = {}, {}
        if pairing is not None:
            params, space = parameters(self.spec.search, pairing, task), distributions(self.spec.search, pairing)
        with self._notebook(pairing).claim(task, self.metric, params, space) as claim:
            if claim is None:
                return False
            # At weight 1 a search has the main alone, which is shared.
            known = self.results.shared.get(task) if pairing is not None and task.weight == 1 else None
            if known is None:
                progress.start(task.name, task.samples)
                claim.keep(self.evaluator.outcome(task, progress.samples))
            elif known.reason:
                raise Failed(known.reason)
            else:
                claim.keep(replace(known.outcome, evaluations=0))
        self._known.pop(pairing, None)
        return True

    def _look_again(self) -> None:
        """Give up the claims of processes that have ended, and read again what others may have added to."""
        for notebook in self._notebooks.values():
            notebook.release_lost()
        self._known.clear()

    def _evaluations(self, pairing: PairingSpec | None) -> list[Evaluation]:
        if pairing not in self._known:
            self._known[pairing] = self._notebook(pairing).evaluations()
            for evaluation in self._known[pairing]:
                if self.heard and (pairing, evaluation.number) not in self._told:
                    self.heard(pairing, evaluation)
                self._told.add((pairing, evaluation.number))
        return self._known[pairing]

    def _notebook(self, pairing: PairingSpec | None) -> Notebook:
        if pairing not in self._notebooks:
            name = CONFIRM if pairing is None else pairing.name
            self._notebooks[pairing] = Notebook(self._storage, f"{self.spec.name}/{name}")
        return self._notebooks[pairing]


class _Searches(Mapping[PairingSpec, list[Evaluation]]):
    """The evaluations of each pairing's search, read when they are asked for."""

    def __init__(self, read: Callable[[PairingSpec], list[Evaluation]], pairings: Sequence[PairingSpec]) -> None:
        self._read, self._pairings = read, pairings

    def __getitem__(self, pairing: PairingSpec) -> list[Evaluation]:
        return self._read(pairing)

    def __iter__(self) -> Iterator[PairingSpec]:
        return iter(self._pairings)

    def __len__(self) -> int:
        return len(self._pairings)
