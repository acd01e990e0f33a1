"""Forecasts that were written down: kept before the first evaluation, so that a change shows."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from degradations import InputError
from study.engine.worker import Worker
from study.files.regular import check_regular
from study.records.task import Task
from study.report.forecasts import cell_of, missing, read_forecasts
from study.search import CONFIRM, Store, names, open_storage
from study.specs import StudySpec

MOST_BYTES = 1_000_000
KEY = "forecasts"  # of the versions, among the values kept with a study's evaluations


def text_of(spec: StudySpec) -> str | None:
    """The text of a study's file of forecasts, if it has one.

    Raises InputError for a file that is missing or not a table of forecasts, and for pairings of
    the study that it has no row of.
    """
    if spec.forecasts is None:
        return None
    check_regular(Path(spec.forecasts), MOST_BYTES)
    try:
        text = Path(spec.forecasts).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"forecasts {spec.forecasts}: not UTF-8 text.") from None
    found = read_forecasts(text, spec.forecasts)
    cells = pd.DataFrame([cell_of(vars(pairing)) for pairing in spec.pairings])
    if spec.matrix is None and (without := missing(found, cells)):
        raise InputError(
            f"forecasts {spec.forecasts}: no row of {without[0]}, one of {len(without)} pairings "
            "without a forecast."
        )
    return text


def keep(worker: Worker, spec: StudySpec) -> list[dict[str, Any]]:
    """The versions of a study's forecasts that were seen, oldest first, with that of its file.

    Each with the guided evaluations that existed then, those included that --fresh has deleted;
    versions that were replaced before there was any are forgotten. For a matrix this calibrates
    first. Raises InputError as `text_of` does, also for the pairings of a matrix.
    """
    versions: list[dict[str, Any]] = worker.once(KEY, list)
    if spec.forecasts is None:
        return versions
    text = text_of(replace(worker.expand(), matrix=None))
    assert text is not None
    results = worker.results
    made = [*results.shared, *(e.task for found in results.searches.values() for e in found)]
    known = _guided(made) + sum(version.get("deleted", 0) for version in versions)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if not versions or versions[-1]["sha256"] != digest:
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        new = {"sha256": digest, "evaluations": known, "at": at, "text": text}
        versions = [*(each for each in versions if known > 0), new]
        worker.remember(KEY, versions)
    return versions


def seen(root: Path, name: str) -> list[dict[str, Any]]:
    """The versions of the forecasts of a study whose evaluations are about to be deleted."""
    storage = open_storage(root)
    own = names(storage, name)
    if f"{name}/{CONFIRM}" not in own:
        return []
    versions: list[dict[str, Any]] = Store(storage, f"{name}/{CONFIRM}").attributes().get(KEY, [])
    if versions:
        made = (e.task for each in own for e in Store(storage, each).evaluations())
        versions[-1] = {**versions[-1], "deleted": _guided(made)}
    return versions


def _guided(tasks: Iterable[Task]) -> int:
    """The number of guided evaluations; probes, single denoisers and controls are none."""
    guided = (task for task in tasks if task.weight != 1 and task.main != task.guide)
    return sum(not task.endpoint_probe for task in guided)
