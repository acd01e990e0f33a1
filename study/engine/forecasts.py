"""Forecasts that were written down: kept before the first evaluation, so that a change shows."""

import hashlib
import time
from pathlib import Path
from typing import Any

import pandas as pd

from degradations import InputError
from study.engine.worker import Worker
from study.files.regular import check_regular
from study.report.forecasts import cell_of, read_forecasts, written
from study.specs import StudySpec

MOST_BYTES = 1_000_000


def text_of(spec: StudySpec) -> str | None:
    """The text of a study's file of forecasts, if it has one.

    Raises InputError for a file that is missing or not a table of forecasts.
    """
    if spec.forecasts is None:
        return None
    check_regular(Path(spec.forecasts), MOST_BYTES)
    try:
        text = Path(spec.forecasts).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"forecasts {spec.forecasts}: not UTF-8 text.") from None
    forecasts = read_forecasts(text, spec.forecasts)
    if spec.matrix is None:  # whose pairings are not known yet
        written(forecasts, pd.DataFrame([cell_of(vars(pairing)) for pairing in spec.pairings]))
    return text


def keep(worker: Worker, text: str) -> list[dict[str, Any]]:
    """The versions of a study's forecasts that were seen, this one included, oldest first.

    Each with the guided evaluations that existed then; versions that were replaced before there was
    any are forgotten.
    """
    results = worker.results
    made = [*results.shared, *(e.task for found in results.searches.values() for e in found)]
    # the probes and single denoisers, of which forecasts may be made, are not results
    known = sum(task.weight != 1 and not task.endpoint_probe for task in made)
    digest = hashlib.sha256(text.encode()).hexdigest()
    versions: list[dict[str, Any]] = worker.once("forecasts", list)
    if not versions or versions[-1]["sha256"] != digest:
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        new = {"sha256": digest, "evaluations": known, "at": at, "text": text}
        versions = [*(each for each in versions if known > 0), new]
        worker.remember("forecasts", versions)
    return versions
