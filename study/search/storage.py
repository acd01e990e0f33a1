"""Where evaluations are kept: Optuna studies in one database under mlruns/, the truth that tables read.

Each pairing has an Optuna study of its own, `NAME/MAIN → GUIDE, COUPLING`; the scores of single denoisers and of the
confirmation are trials of `NAME/confirm`, shared by all pairings that need them.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from degradations import Failed, Refused
from study.files.atomic import check_sqlite
from study.files.lock import locked
from study.records import Evaluation, Outcome, Task

LOST = "its process ended"
CONFIRM = "confirm"
TAKEN = (optuna.exceptions.UpdateFinishedTrialError, ValueError)  # what Optuna raises for a trial that has ended


def open_storage(root: Path) -> optuna.storages.RDBStorage:
    """The database of all studies under a root; made, under a lock, where there is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    root.mkdir(parents=True, exist_ok=True)
    check_sqlite(root / "optuna.db")
    url = f"sqlite:///{(root / 'optuna.db').resolve()}"
    with locked(root / "optuna.lock"):
        return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})


def existing_storage(root: Path) -> optuna.storages.RDBStorage:
    """The database under a root. Raises Refused where there is none: reading must not make one."""
    if not (root / "optuna.db").is_file():
        raise Refused(f"{root}: no studies here (no optuna.db); `study run CONFIG` makes one.")
    return open_storage(root)


class Claim:
    """A task taken: what was found out goes to `keep`."""

    outcome: Outcome | None = None

    def keep(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Notebook:
    """The evaluations of one Optuna study: looked up by task, and kept as they are finished."""

    def __init__(self, storage: optuna.storages.RDBStorage, name: str) -> None:
        self.name = name
        self._study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True, direction="minimize")

    def attributes(self) -> dict[str, Any]:
        """What was kept with `remember`."""
        return dict(self._study.user_attrs)

    def remember(self, key: str, value: Any) -> None:
        self._study.set_user_attr(key, value)

    def evaluations(self) -> list[Evaluation]:
        """All evaluations that ended, the failed ones with their reason, in the order of their numbers."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
        return [_evaluation(trial) for trial in trials if "task" in trial.user_attrs and not _lost(trial)]

    def release_lost(self) -> int:
        """Give up running trials of this machine whose process has ended; returns how many there were."""
        lost = [trial for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if _dead(trial)]
        for trial in lost:
            self._fail(trial, LOST)
        return len(lost)

    def running(self) -> set[Task]:
        """The tasks that a live process is at work on."""
        found = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {Task.of(trial.user_attrs["task"]) for trial in found if not _dead(trial)}

    @contextmanager
    def claim(
        self, task: Task, metric: str, params: Mapping[str, Any] | None = None,
        space: Mapping[str, BaseDistribution] | None = None,
    ) -> Iterator["Claim | None"]:  # fmt: skip
        """Take a task for this process: the block calls `keep` with what it found. None where another was first.

        A block that raises Failed leaves a failed trial with its reason; one that is interrupted, or keeps nothing,
        leaves a trial that counts for nothing. `params` within `space` are the trial's own, from which samplers learn;
        the score by `metric` is its value.
        """
        trial = self._begin(task, params or {}, space or {})
        if self._taken(task, trial):
            self._fail(trial, LOST)
            yield None
            return
        claim = Claim()
        try:
            yield claim
        except Failed as error:
            self._fail(trial, str(error))
        except BaseException:
            self._fail(trial, LOST)
            raise
        else:
            self._finish(trial, claim.outcome, metric)

    def _finish(self, trial: FrozenTrial, outcome: Outcome | None, metric: str) -> None:
        if outcome is None:
            self._fail(trial, LOST)
            return
        with suppress(
            *TAKEN
        ):  # given up by a process that took this one for dead: who evaluates the task next keeps it
            self._sign(trial, "outcome", asdict(outcome))
            self._study.tell(trial.number, outcome.scores[metric])

    def _begin(self, task: Task, params: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> FrozenTrial:
        """A running trial, signed by its owner in the transaction that makes it, so that none is ever without."""
        claim = uuid.uuid4().hex
        attrs = {"task": task.as_dict(), "owner": _owner(), "claim": claim}
        self._study.add_trial(
            optuna.create_trial(
                state=TrialState.RUNNING, params=dict(params), distributions=dict(space), user_attrs=attrs
            )
        )
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return next(trial for trial in running if trial.user_attrs["claim"] == claim)

    def _taken(self, task: Task, mine: FrozenTrial) -> bool:
        """Whether an earlier trial of a task has ended, or is at work. Claims are entered before they are compared, so
        of two processes that claim at once the database's order decides, and each sees it."""
        return any(
            trial._trial_id < mine._trial_id
            and "task" in trial.user_attrs
            and Task.of(trial.user_attrs["task"]) == task
            and not _lost(trial)
            and not (trial.state == TrialState.RUNNING and _dead(trial))
            for trial in self._study.get_trials(deepcopy=False)
        )

    def _sign(self, trial: FrozenTrial, key: str, value: Any) -> None:
        self._study._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _fail(self, trial: FrozenTrial, reason: str) -> None:
        with suppress(*TAKEN):  # another process was quicker
            self._sign(trial, "reason", reason)
            self._study.tell(trial.number, state=TrialState.FAIL)


def forget(storage: optuna.storages.RDBStorage, name: str) -> None:
    """Delete all that is kept of a study."""
    for each in names(storage, name):
        optuna.delete_study(study_name=each, storage=storage)


def names(storage: optuna.storages.RDBStorage, study: str | None = None) -> list[str]:
    """The names of all Optuna studies in a storage, or of those that belong to a study."""
    found = list(optuna.get_all_study_names(storage))
    return found if study is None else [each for each in found if each.startswith(f"{study}/")]


def check_fingerprint(notebook: Notebook, fingerprint: dict[str, Any], begun: bool = True) -> None:
    """Keep what determines the scores of a study, or compare it with what was kept, if there are scores (`begun`).

    Raises Refused for a difference, naming the keys.
    """
    kept = notebook.attributes().get("fingerprint")
    fingerprint = json.loads(json.dumps(fingerprint))
    if kept is None or not begun:
        notebook.remember("fingerprint", fingerprint)
    elif changed := sorted(k for k in kept.keys() | fingerprint.keys() if _differ(kept, fingerprint, k)):
        lines = [f"  {key}: {kept.get(key)} then, {fingerprint.get(key)} now" for key in changed]
        study = notebook.name.rsplit("/", 1)[0]
        raise Refused(
            f"The study '{study}' was begun with other values, and its scores would not be comparable:\n"
            + "\n".join(lines)
            + f"\nGive them back, or begin another study (--name {study}-2), or discard the old one (--fresh)."
        )
    elif fingerprint.keys() - kept.keys():
        notebook.remember("fingerprint", kept | fingerprint)


def _differ(kept: dict[str, Any], now: dict[str, Any], key: str) -> bool:
    """Whether a key tells two fingerprints apart; a variant of the base that only one of them names does not."""
    if key.startswith("variant.") and not (key in kept and key in now):
        return False
    return bool(kept.get(key) != now.get(key))


def _evaluation(trial: FrozenTrial) -> Evaluation:
    attrs = trial.user_attrs
    started, ended = (t.timestamp() if t else time.time() for t in (trial.datetime_start, trial.datetime_complete))
    return Evaluation(
        Task.of(attrs["task"]), Outcome(**attrs.get("outcome", {})), attrs.get("reason", ""), trial.number,
        started, ended, attrs.get("owner", {}).get("host", ""),
    )  # fmt: skip


def _lost(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("reason") == LOST


def _owner() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "start": psutil.Process().create_time()}


def _dead(trial: FrozenTrial) -> bool:
    """Whether a running trial's process has ended, as far as this machine can tell."""
    owner = trial.user_attrs["owner"]
    if owner["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["start"]) > 1
    except psutil.NoSuchProcess:
        return True
