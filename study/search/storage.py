"""Where evaluations are kept: Optuna studies in one database under mlruns/, the truth that tables read.

Each pairing has an Optuna study of its own, `NAME/MAIN → GUIDE, COUPLING`; the scores of single denoisers and of the
confirmation are trials of `NAME/confirm`, shared by all pairings that need them.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from degradations import Failed, Refused
from study.files.atomic import check_sqlite
from study.files.lock import locked
from study.records import Evaluation, Task
from study.search.propose import weights
from study.specs import SearchSpec

LOST = "its process ended"
CONFIRM = "confirm"


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

    def find(self, task: Task) -> Evaluation | None:
        """The evaluation of a task, finished or failed, if there is one."""
        return next((evaluation for evaluation in self.evaluations() if evaluation.task == task), None)

    def release_lost(self) -> int:
        """Give up running trials of this machine whose process has ended; returns how many there were."""
        lost = [trial for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if _dead(trial)]
        for trial in lost:
            self._fail(trial, LOST)
        return len(lost)

    @contextmanager
    def claim(self, task: Task, metric: str, space: SearchSpec | None = None) -> Iterator[dict[str, float]]:
        """Keep what the block puts into the dictionary as the scores of a task, with `metric` as the trial's value.

        A block that raises Failed leaves a failed trial with its reason; one that is interrupted leaves a trial that
        counts for nothing. A search space makes the weight a parameter that samplers learn from.
        """
        trial = self._begin(task, space)
        scores: dict[str, float] = {}
        try:
            yield scores
            self._sign(trial, "scores", scores)
            self._study.tell(trial.number, scores[metric])
        except Failed as error:
            self._fail(trial, str(error))
        except BaseException:
            self._fail(trial, LOST)
            raise

    def _begin(self, task: Task, space: SearchSpec | None) -> FrozenTrial:
        """A running trial, signed by its owner in the transaction that makes it, so that none is ever without."""
        claim = uuid.uuid4().hex
        params: dict[str, float] = {}
        distributions: dict[str, BaseDistribution] = {}
        if space:
            params = {"weight": task.weight}
            distributions = {"weight": FloatDistribution(space.weight[0], weights(space)[-1], step=space.step)}
        attrs = {"task": task.as_dict(), "owner": _owner(), "claim": claim}
        self._study.add_trial(
            optuna.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=attrs)
        )
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return next(trial for trial in running if trial.user_attrs["claim"] == claim)

    def _sign(self, trial: FrozenTrial, key: str, value: Any) -> None:
        self._study._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _fail(self, trial: FrozenTrial, reason: str) -> None:
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
    elif changed := sorted(k for k in kept.keys() | fingerprint.keys() if kept.get(k) != fingerprint.get(k)):
        lines = [f"  {key}: {kept.get(key)} then, {fingerprint.get(key)} now" for key in changed]
        study = notebook.name.rsplit("/", 1)[0]
        raise Refused(
            f"The study '{study}' was begun with other values, and its scores would not be comparable:\n"
            + "\n".join(lines)
            + f"\nGive them back, or begin another study (--name {study}-2), or discard the old one (--fresh)."
        )


def _evaluation(trial: FrozenTrial) -> Evaluation:
    attrs = trial.user_attrs
    started, ended = (t.timestamp() if t else time.time() for t in (trial.datetime_start, trial.datetime_complete))
    return Evaluation(
        Task(**attrs["task"]), attrs.get("scores", {}), attrs.get("reason", ""), trial.number, started, ended,
        attrs.get("owner", {}).get("host", ""),
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
