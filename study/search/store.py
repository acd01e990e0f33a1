"""The storage of evaluations: Optuna studies in one database under mlruns/, read by tables.

Each pairing has an Optuna study of its own, `NAME/MAIN → GUIDE, COUPLING`; the scores of single
denoisers and of the confirmation are trials of `NAME/confirm`, shared by all pairings that need
them.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from degradations import InputError, RunError
from study.files.lock import locked
from study.parallel.signals import uninterrupted
from study.records.task import Evaluation, Outcome, Task
from study.search.database import intact, path_of
from study.search.owner import is_dead, is_local, this_process

LOST = "its process ended"
CONFIRM = "confirm"
# errors that Optuna raises for a trial that has ended
TAKEN = (optuna.exceptions.UpdateFinishedTrialError, ValueError)


class Claim:
    """A claimed task, whose outcome is passed to `keep`."""

    outcome: Outcome | None = None

    def keep(self, outcome: Outcome) -> None:
        self.outcome = outcome


class RemoteTrial(NamedTuple):
    """A running trial of a process on another machine or in another container, not visible here."""

    task: Task
    host: str
    pid: int
    began: float


class Store:
    """The evaluations of one Optuna study: looked up by task, and stored when they are finished.

    It reflects the database as it was last read: after `refresh`, or before a claim.
    """

    def __init__(self, storage: RDBStorage, name: str) -> None:
        self.name, self._storage, self._path = name, storage, path_of(storage)
        with intact(self._path):
            try:
                self._study = optuna.load_study(study_name=name, storage=storage)
            except KeyError:
                self._study = optuna.create_study(
                    storage=storage, study_name=name, load_if_exists=True
                )
        # by trial number; None for a trial that is ignored
        self._ended: dict[int, Evaluation | None] = {}

    def attributes(self) -> dict[str, Any]:
        """The values stored with `remember`."""
        return dict(self._study.user_attrs)

    def remember(self, key: str, value: Any) -> None:
        self._study.set_user_attr(key, value)

    def refresh(self) -> None:
        """Read the trials again, as other processes may have added some."""
        self.__dict__.pop("_trials", None)

    @cached_property
    def _trials(self) -> list[FrozenTrial]:
        with intact(self._path):
            return self._study.get_trials(deepcopy=False)

    def evaluations(self) -> list[Evaluation]:
        """All finished evaluations, failed ones with their reason, ordered by number."""
        with intact(self._path):
            for trial in self._trials:
                if trial.state.is_finished() and trial.number not in self._ended:
                    counts = "task" in trial.user_attrs and not _lost(trial)
                    self._ended[trial.number] = _evaluation(trial) if counts else None
        found = (self._ended.get(trial.number) for trial in self._trials)
        return [evaluation for evaluation in found if evaluation is not None]

    def running(self) -> set[Task]:
        """The tasks that a live process is evaluating."""
        return {
            Task.of(trial.user_attrs["task"])
            for trial in self._at_work()
            if not is_dead(trial.user_attrs["owner"])
        }

    def remote(self) -> list[RemoteTrial]:
        """The running trials of processes of which this one cannot see whether they are alive."""
        owners = (
            (trial, trial.user_attrs["owner"])
            for trial in self._at_work()
            if not is_local(trial.user_attrs["owner"])
        )
        return [
            RemoteTrial(
                Task.of(trial.user_attrs["task"]), owner["host"], owner["pid"], _started(trial)
            )
            for trial, owner in owners
        ]

    def release_lost(self) -> int:
        """Release running trials of this machine whose process has ended; returns their number."""
        return self._release(
            [trial for trial in self._at_work() if is_dead(trial.user_attrs["owner"])]
        )

    def release_host(self, host: str) -> int:
        """Release running trials of a host that is not visible here; returns their number."""
        at_work = (trial for trial in self._at_work() if not is_local(trial.user_attrs["owner"]))
        return self._release(
            [trial for trial in at_work if trial.user_attrs["owner"]["host"] == host]
        )

    def _release(self, trials: list[FrozenTrial]) -> int:
        for trial in trials:
            self._fail(self._id_of(trial), LOST)
        if trials:
            self.refresh()
        return len(trials)

    def _at_work(self) -> list[FrozenTrial]:
        return [
            trial
            for trial in self._trials
            if trial.state == TrialState.RUNNING and "owner" in trial.user_attrs
        ]

    @contextmanager
    def claim(
        self,
        task: Task,
        metric: str,
        params: Mapping[str, Any] | None = None,
        space: Mapping[str, BaseDistribution] | None = None,
    ) -> Iterator["Claim | None"]:
        """Claim a task for this process; the block passes its outcome to `keep`.

        Yields None if another process has the task. A block that raises RunError leaves a failed
        trial with its reason; one that is interrupted, or keeps nothing, leaves a trial that is
        ignored. `params` within `space` are the trial's parameters for Optuna's samplers; the score
        by `metric` is its value.
        """
        claim = Claim()
        with ExitStack() as stack:
            with locked(self._path.parent / "locks" / "claim.lock"), uninterrupted():
                trial = self._begin(task, params or {}, space or {})
                if trial is not None:
                    stack.push(lambda _, error, __: self._end(trial, claim, metric, error))
            yield None if trial is None else claim

    def _end(self, trial: int, claim: Claim, metric: str, error: BaseException | None) -> bool:
        """End the trial of a claim at the end of its block; returns whether its error is done."""
        with uninterrupted():
            if error is None:
                self._finish(trial, claim.outcome, metric)
            else:
                self._fail(trial, str(error) if isinstance(error, RunError) else LOST)
            self.refresh()
        return isinstance(error, RunError)

    def _begin(
        self, task: Task, params: Mapping[str, Any], space: Mapping[str, BaseDistribution]
    ) -> int | None:
        """The database number of a new running trial of a task, or None if the task is taken.

        To be called under the lock of claims, so that lookup and claim are atomic. A trial gets its
        owner in the transaction that creates it, so that none is ever without one.
        """
        self.refresh()
        if task in self.running() or any(
            task == evaluation.task for evaluation in self.evaluations()
        ):
            return None
        attrs = {"task": task.as_dict(), "owner": this_process()}
        trial = optuna.create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(space),
            user_attrs=attrs,
        )
        made = int(self._storage.create_new_trial(self._study_id, trial))
        self.refresh()
        return made

    def _id_of(self, trial: FrozenTrial) -> int:
        """The number of a trial in the database, which differs from its number in the study."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    @cached_property
    def _study_id(self) -> int:
        return self._storage.get_study_id_from_name(self.name)

    def _finish(self, trial: int, outcome: Outcome | None, metric: str) -> None:
        if outcome is None:
            self._fail(trial, LOST)
            return
        # If the trial was released because this process seemed to have ended, the next process to
        # evaluate the task stores it.
        with suppress(*TAKEN):
            self._storage.set_trial_user_attr(trial, "outcome", asdict(outcome))
            score = float(outcome.scores[metric])
            if outcome.pruned:
                self._storage.set_trial_intermediate_value(trial, 1, score)
                self._storage.set_trial_state_values(trial, TrialState.PRUNED)
            else:
                self._storage.set_trial_state_values(trial, TrialState.COMPLETE, [score])

    def _fail(self, trial: int, reason: str) -> None:
        with suppress(*TAKEN):  # another process was quicker
            self._storage.set_trial_user_attr(trial, "reason", reason)
            self._storage.set_trial_state_values(trial, TrialState.FAIL)


def check_fingerprint(store: Store, fingerprint: dict[str, Any], begun: bool = True) -> None:
    """Store the fingerprint of a study, or compare it with the stored one if there are scores.

    begun: whether there are scores. Raises InputError for a difference, with the keys that differ.
    """
    kept = store.attributes().get("fingerprint")
    fingerprint = json.loads(json.dumps(fingerprint))
    if kept is None or not begun:
        store.remember("fingerprint", fingerprint)
    elif changed := sorted(
        k for k in kept.keys() | fingerprint.keys() if _differ(kept, fingerprint, k)
    ):
        lines = [f"  {key}: {kept.get(key)} then, {fingerprint.get(key)} now" for key in changed]
        study = store.name.rsplit("/", 1)[0]
        raise InputError(
            f"The study '{study}' was begun with other values, and its scores would not be "
            "comparable:\n"
            + "\n".join(lines)
            + f"\nRestore these values, or begin another study (--name {study}-2), or discard the "
            "old one (--fresh)."
        )
    elif fingerprint.keys() - kept.keys():
        store.remember("fingerprint", kept | fingerprint)


def _differ(kept: dict[str, Any], now: dict[str, Any], key: str) -> bool:
    """Whether two fingerprints differ in a key.

    A variant that only one names is ignored, and a design, which earlier versions recorded for
    every method.
    """
    if (key.startswith("variant.") or key == "search.design") and not (key in kept and key in now):
        return False
    return bool(kept.get(key) != now.get(key))


def _evaluation(trial: FrozenTrial) -> Evaluation:
    attrs = trial.user_attrs
    ended = trial.datetime_complete.timestamp() if trial.datetime_complete else time.time()
    return Evaluation(
        Task.of(attrs["task"]),
        Outcome.of(attrs.get("outcome", {})),
        attrs.get("reason", ""),
        trial.number,
        _started(trial),
        ended,
        attrs.get("owner", {}).get("host", ""),
    )


def _started(trial: FrozenTrial) -> float:
    return trial.datetime_start.timestamp() if trial.datetime_start else time.time()


def _lost(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("reason") == LOST
