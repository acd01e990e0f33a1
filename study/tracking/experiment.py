"""A study as an MLflow experiment."""

import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from study.parallel.signals import uninterrupted
from study.records.task import Evaluation
from study.tracking.database import artifacts, open_client, store_of

KEY = "study.key"
TOGETHER = 1000  # metrics that MLflow accepts in one call


class Tracking:
    """An MLflow experiment of a study, with nested runs: the study, its parts, their evaluations.

    A part is a pairing or the confirmation. Runs are identified by a key, so nothing is logged
    twice. Runs that a killed process left as running are ended first, as only one process at a time
    logs a study.
    """

    def __init__(self, root: Path, study: str, anew: bool = False) -> None:
        """Open a study's experiment; anew: rename an older one and move it to MLflow's trash."""
        self._client = open_client(root)
        self._store = store_of(self._client)
        experiment = self._client.get_experiment_by_name(study)
        if experiment is not None and (anew or experiment.lifecycle_stage == "deleted"):
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            self._client.rename_experiment(
                experiment.experiment_id, f"{study} until {_ms(math.nan)}"
            )
            self._client.delete_experiment(experiment.experiment_id)
            experiment = None
        self._folder = artifacts(root) / study
        if experiment is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            # makes the dashboard open with the runs
            kind = {"mlflow.experimentKind": "custom_model_development"}
            self._experiment = self._client.create_experiment(study, self._folder.as_uri(), kind)
        else:
            self._experiment = experiment.experiment_id
        self._runs = self._known()
        self._open_runs: list[str] = []
        self._study = self._open("study", study, None)

    def describe(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log parameters and tags of the study run; parameters logged before keep their value."""
        self._log(self._study, params={k: str(v)[:6000] for k, v in params.items()}, tags=tags)

    def part(self, name: str, params: Mapping[str, str]) -> str:
        """The run of a part of the study, created if there is none."""
        run = self._open(f"part {name}", name, self._study)
        self._log(run, params=params)
        return run

    def evaluations(
        self, part: str, evaluations: Sequence[Evaluation], curve: bool = False
    ) -> None:
        """Log evaluations as runs in their part; curve: also their scores on the part's run.

        The step of a score is 100·w. The runs are written directly into the database, already
        ended.
        """
        new = {
            key: e
            for e in evaluations
            if (key := f"evaluation {part} {e.number}") not in self._runs
        }
        # before the runs, which mark that everything is logged; MLflow ignores repeated metrics
        if curve:
            self._points(part, list(new.values()))
        from mlflow.store.tracking.dbmodels import models
        from sqlalchemy import insert

        runs = {key: uuid.uuid4().hex for key in new}
        rows: dict[Any, list[dict[str, Any]]] = {}
        for key, evaluation in new.items():
            for table, found in self._ended_run(models, runs[key], key, part, evaluation).items():
                rows.setdefault(table, []).extend(found)
        with self._store.ManagedSessionMaker(read_only=False) as session:
            for table, found in rows.items():  # runs first, to which the others refer
                if found:
                    session.execute(insert(table), found)
        self._runs |= runs

    def _points(self, part: str, evaluations: Sequence[Evaluation]) -> None:
        from mlflow.entities import Metric

        points = [
            Metric(key, value, _ms(e.ended), round(100 * e.task.weight))
            for e in evaluations
            for key, value in e.scores.items()
        ]
        for first in range(0, len(points), TOGETHER):
            self._client.log_batch(part, points[first : first + TOGETHER])

    def _ended_run(
        self, models: Any, run: str, key: str, part: str, evaluation: Evaluation
    ) -> dict[Any, list[dict[str, Any]]]:
        """The run of an evaluation as rows of MLflow's tables, by table."""
        task = evaluation.task
        tags = {
            KEY: key,
            "level": "evaluation",
            "mlflow.parentRunId": part,
            "mlflow.runName": task.name,
        }
        tags |= {"reason": evaluation.reason[:6000]} if evaluation.reason else {}
        values = {
            name: self._store.sanitize_metric_value(value)
            for name, value in evaluation.scores.items()
        }
        at = {"run_uuid": run, "timestamp": _ms(evaluation.ended), "step": round(100 * task.weight)}
        scores = [
            {"key": name, "value": value, "is_nan": is_nan, **at}
            for name, (is_nan, value) in values.items()
        ]
        about = {
            "run_uuid": run,
            "name": task.name,
            "experiment_id": int(self._experiment),
            "user_id": "unknown",
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": f"{self._folder.as_uri()}/{run}/artifacts",
            "status": "FAILED" if evaluation.reason else "FINISHED",
            "start_time": _ms(evaluation.started),
            "end_time": _ms(evaluation.ended),
        }
        return {
            models.SqlRun: [about],
            models.SqlTag: [{"run_uuid": run, "key": k, "value": v} for k, v in tags.items()],
            models.SqlParam: [
                {"run_uuid": run, "key": k, "value": str(v)} for k, v in task.as_dict().items()
            ],
            models.SqlMetric: scores,
            models.SqlLatestMetric: scores,
        }

    def conclude(
        self, part: str, metrics: Mapping[str, float | None], tags: Mapping[str, str]
    ) -> None:
        """Log the result of a part."""
        self._log(part, metrics={k: v for k, v in metrics.items() if v is not None}, tags=tags)

    def files(self, paths: Sequence[Path], folder: str = "") -> None:
        """Keep files as artifacts of the study run."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # A client caches the artifact folder of a run, which is different in a copied root.
        place = get_artifact_repository(self._client.get_run(self._study).info.artifact_uri)
        for path in paths:
            place.log_artifact(str(path), folder or None)  # type: ignore[no-untyped-call]

    def table(self, path: Path) -> None:
        """Keep a file {"columns": […], "data": [[…], …]} as an artifact shown as a table."""
        self.files([path])
        self._log(
            self._study,
            tags={"mlflow.loggedArtifacts": json.dumps([{"path": path.name, "type": "table"}])},
        )

    def close(self, status: str = "FINISHED") -> None:
        """End every open run with a status, so that none is shown as running."""
        for run in self._open_runs:
            with suppress(
                Exception
            ):  # MLflow's failure must not hide another error or stop the study
                self._client.set_terminated(run, status)
        self._store.engine.dispose()  # closes the database, which is then a single file

    def _known(self) -> dict[str, str]:
        """The existing runs by key, all of them ended.

        An evaluation's run that has not ended is incomplete: it is moved to MLflow's trash and
        logged again.
        """
        from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag

        with self._store.ManagedSessionMaker(read_only=True) as session:
            query = session.query(SqlTag.value, SqlRun.run_uuid, SqlRun.status).join(
                SqlTag, SqlTag.run_uuid == SqlRun.run_uuid
            )
            query = query.filter(
                SqlRun.experiment_id == int(self._experiment), SqlRun.lifecycle_stage == "active"
            )
            found = [tuple(row) for row in query.filter(SqlTag.key == KEY)]
        runs = {}
        for key, run, status in found:
            if status != "RUNNING":
                runs[key] = run
            elif key.startswith("evaluation "):
                self._client.delete_run(run)
            else:
                self._client.set_terminated(run, "KILLED")
                runs[key] = run
        return runs

    def _open(self, key: str, name: str, parent: str | None) -> str:
        """The run of a key, created or set to running again."""
        with uninterrupted():  # so that `close` ends it
            if key in self._runs:
                self._client.update_run(self._runs[key], status="RUNNING")
            else:
                tags = {KEY: key, "level": key.split()[0]}
                tags |= {"mlflow.parentRunId": parent} if parent else {}
                run = self._client.create_run(self._experiment, run_name=name, tags=tags)
                self._runs[key] = run.info.run_id
            self._open_runs.append(self._runs[key])
        return self._runs[key]

    def _log(
        self,
        run: str,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        known = self._client.get_run(run).data.params if params else {}
        new = [Param(k, v) for k, v in (params or {}).items() if k not in known]
        measured = [Metric(k, v, _ms(math.nan), 0) for k, v in (metrics or {}).items()]
        self._client.log_batch(
            run, measured, new[:100], [RunTag(k, v) for k, v in (tags or {}).items()]
        )


def _ms(seconds: float) -> int:
    return int(1000 * (time.time() if math.isnan(seconds) else seconds))
