"""Publication of a study: tables and figures in its report folder and in MLflow."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from study.engine.report import read_json, write, write_report
from study.evaluation.evaluator import Evaluator
from study.files.atomic import sha256
from study.files.places import report_folder
from study.parallel.signals import uninterrupted
from study.records.results import Results
from study.records.task import Evaluation
from study.report.rows import rows as rows_of
from study.search import CONFIRM
from study.specs import PairingSpec, StudySpec
from study.specs.serialisation import spec_to_yaml
from study.tracking import Tracking

REPORTED = "reported.json"  # in a report folder: a digest of what it reports


class Publisher:
    """Writes a study to MLflow and to its report folder, as evaluations become known.

    MLflow is opened when there is something new to write: an evaluation made since this object was
    created, a file or a result. Its first failure is printed and kept as `problem`, and nothing
    more is written to MLflow; the study itself goes on.
    """

    def __init__(
        self,
        root: Path,
        spec: StudySpec,
        about: tuple[dict[str, Any], dict[str, str]],
        anew: bool = False,
    ) -> None:
        self.problem: str | None = None
        self._root, self._spec, self._about, self._anew = root, spec, about, anew
        self._began, self._reported = time.time(), ""
        self._waiting: dict[PairingSpec | None, list[Evaluation]] = {}
        self._parts: dict[PairingSpec | None, str] = {}

    @cached_property
    def _tracking(self) -> Tracking:
        # From now on MLflow shows runs in progress: if this process is killed, the next one must
        # report again.
        (report_folder(self._root, self._spec.name) / REPORTED).unlink(missing_ok=True)
        tracking = Tracking(self._root, self._spec.name, self._anew)
        tracking.describe(*self._about)
        return tracking

    def evaluation(self, pairing: PairingSpec | None, evaluation: Evaluation) -> None:
        """Log an evaluation of a pairing's search, or a shared one."""
        self._waiting.setdefault(pairing, []).append(evaluation)
        if evaluation.ended >= self._began:
            self._show(self._flush)

    def files(self, paths: Sequence[Path], folder: str) -> None:
        """Keep files as artifacts of the study's run."""
        self._show(lambda tracking: tracking.files(paths, folder))

    def conclude(
        self,
        pairing: PairingSpec,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log the result of a pairing."""
        self._show(
            lambda tracking: tracking.conclude(self._part(tracking, pairing), metrics, tags or {})
        )

    def report(self, results: Results, evaluator: Evaluator | None = None) -> list[dict[str, Any]]:
        """Write tables and figures to mlruns/reports/NAME and MLflow, unless they are up to date.

        Sample figures need an evaluator. Returns the rows of the table.
        """
        folder, rows = report_folder(self._root, results.spec.name), rows_of(results)
        state = self._state(results, folder)
        if evaluator is not None:
            if _is_up_to_date(folder, state):
                return rows
            (folder / REPORTED).unlink(missing_ok=True)
        written = write_report(results, rows, evaluator, folder)
        columns = {key: [str(row[key]) for row in rows] for key in rows[0]} if rows else {}
        shown = {
            "columns": list(columns),
            "data": [list(line) for line in zip(*columns.values(), strict=True)],
        }
        kept = write(folder / "mlflow" / "table.json", json.dumps(shown, ensure_ascii=False))
        self._show(self._flush)
        self.files(written, "report")
        self._show(lambda tracking: tracking.table(kept))
        for row, pairing in zip(rows, results.spec.pairings, strict=True):
            keys = (
                "weight",
                "recovered",
                "fd",
                "fd_sd",
                "fd_base",
                "fd_main",
                "fd_guide",
                "tested_weight",
                "tested_fd",
            )
            self.conclude(
                pairing, {f"result_{key}": row[key] for key in keys}, {"verdict": row["verdict"]}
            )
        if evaluator is not None:
            self._reported = json.dumps(
                {"state": state, "files": [path.name for path in written]}, indent=2
            )
        return rows

    def close(self, status: str = "FINISHED") -> None:
        """End the open MLflow runs with a status, so that none is shown as running."""
        if "_tracking" in self.__dict__:
            with uninterrupted():
                self._tracking.close(status)
        if self._reported and self.problem is None and status == "FINISHED":
            write(report_folder(self._root, self._spec.name) / REPORTED, self._reported)

    def _flush(self, tracking: Tracking) -> None:
        for pairing, evaluations in self._waiting.items():
            part = self._part(tracking, pairing)
            tracking.evaluations(part, evaluations, curve=pairing is not None)
        self._waiting.clear()

    def _part(self, tracking: Tracking, pairing: PairingSpec | None) -> str:
        """The MLflow run of a pairing, or of the evaluations that pairings share."""
        if pairing not in self._parts:
            name, params = (
                CONFIRM,
                {"seeds": str(self._spec.seeds), "samples": str(self._spec.confirm.samples)},
            )
            if pairing is not None:
                name, params = (
                    pairing.name,
                    {
                        "main": pairing.main,
                        "guide": pairing.guide,
                        "coupling": pairing.coupling,
                        "rule": pairing.rule,
                    },
                )
            self._parts[pairing] = tracking.part(name, params)
        return self._parts[pairing]

    def _show(self, act: Callable[[Tracking], None]) -> None:
        if self.problem is not None:
            return
        try:
            with uninterrupted():  # so that `close` finds every run that opening it opens
                tracking = self._tracking
            act(tracking)
        except Exception as error:  # MLflow, its database and the disk raise many types
            self.problem = (
                str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            )
            print(
                f"study: MLflow failed ({self.problem}); `study sync {self._spec.name}` rebuilds "
                "its records",
                file=sys.stderr,
            )

    def _state(self, results: Results, folder: Path) -> str:
        """A digest of everything that a report depends on: folder, evaluations, project version."""
        evaluations = [
            *(e for found in results.searches.values() for e in found),
            *results.shared.values(),
        ]
        probe, commit = folder / "probe.json", self._about[1].get("git.commit")
        made_of = {
            "root": str(self._root.resolve()),
            "spec": spec_to_yaml(results.spec),
            "commit": commit,
            "evaluations": [(e.task.as_dict(), e.number, e.ended) for e in evaluations],
            "probe": sha256(probe) if probe.is_file() else None,
            "forecasts": [version["sha256"] for version in results.forecasts],
            "mlflow": (self._root / "mlflow.db").is_file(),
        }
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _is_up_to_date(folder: Path, state: str) -> bool:
    """Whether a report folder holds every file that was written for a state."""
    kept = read_json(folder / REPORTED) or {}
    return kept.get("state") == state and all(
        (folder / name).is_file() for name in kept.get("files", [])
    )
