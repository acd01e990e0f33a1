"""MLflow's view of a study. The only module that imports MLflow.

A projection of what the search keeps: giving it the same evaluations again changes nothing, so it is filled as a study
runs and can be filled anew from the storage.
"""

import math
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from degradations import Failed
from study.files.atomic import check_sqlite
from study.files.lock import locked
from study.records import Evaluation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY = "study.key"


def database(root: Path) -> str:
    """The address of MLflow's database under a root."""
    return f"sqlite:///{(root / 'mlflow.db').resolve()}"


class Tracking:
    """An MLflow experiment for a study: a study run, in it a run per part, in it a run per evaluation.

    A part is a pairing or the confirmation. Runs are found again by their key, so nothing is logged twice.
    """

    def __init__(self, root: Path, study: str, anew: bool = False) -> None:
        """Open a study's experiment; `anew` puts an older one into MLflow's trash, under another name."""
        self._client = _client(root)
        experiment = self._client.get_experiment_by_name(study)
        if experiment is not None and (anew or experiment.lifecycle_stage == "deleted"):
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            self._client.rename_experiment(experiment.experiment_id, f"{study} until {_ms(math.nan)}")
            self._client.delete_experiment(experiment.experiment_id)
            experiment = None
        if experiment is None:
            folder = (root / "artifacts" / study).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            kind = {"mlflow.experimentKind": "custom_model_development"}  # the dashboard then opens with the runs
            self._experiment = self._client.create_experiment(study, folder.as_uri(), kind)
        else:
            self._experiment = experiment.experiment_id
        self._runs = {run.data.tags[KEY]: run for run in self._all_runs() if KEY in run.data.tags}
        self._open_runs: list[str] = []
        self._warned = False
        self._study = self._open("study", study, None)

    def describe(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """The parameters and tags of the study run; parameters that MLflow has already keep their value."""
        self._log(self._study, params={k: str(v)[:6000] for k, v in params.items()}, tags=tags)

    def part(self, name: str, params: Mapping[str, str]) -> str:
        """The run of a part of the study, made where there is none."""
        run = self._open(f"part {name}", name, self._study)
        self._log(run, params=params)
        return run

    def evaluation(self, part: str, evaluation: Evaluation, curve: bool = False) -> None:
        """Keep an evaluation as a run in its part; for a curve, also its scores on the part's run at step round(100·w).

        An evaluation is worth more than its picture: where MLflow fails, that is said once, and the study goes on.
        """
        try:
            self._evaluation(part, evaluation, curve)
        except Exception as error:
            if not self._warned:
                print(f"study: MLflow failed ({error}); `study sync` will rebuild its view", file=sys.stderr)
            self._warned = True

    def _evaluation(self, part: str, evaluation: Evaluation, curve: bool) -> None:
        key = f"evaluation {part} {evaluation.number}"
        known = self._runs.get(key)
        if known is not None and known.info.status in ("FINISHED", "FAILED"):
            return
        task, began, ended = evaluation.task, _ms(evaluation.started), _ms(evaluation.ended)
        run = known.info.run_id if known else self._create(key, task.name, part, began)
        params = {k: str(v) for k, v in task.as_dict().items()}
        tags, step = {"reason": evaluation.reason} if evaluation.reason else {}, round(100 * task.weight)
        self._log(run, params, evaluation.scores, tags, step, ended)
        if curve and evaluation.scores:
            self._log(part, metrics=evaluation.scores, step=step, timestamp=ended)
        self._client.set_terminated(run, "FAILED" if evaluation.reason else "FINISHED", ended)
        self._runs[key] = self._client.get_run(run)

    def conclude(self, part: str, metrics: Mapping[str, float | None], tags: Mapping[str, str]) -> None:
        """The result of a part."""
        self._log(part, metrics={k: v for k, v in metrics.items() if v is not None}, tags=tags)

    def files(self, paths: Sequence[Path], folder: str = "") -> None:
        """Keep files as artifacts of the study run."""
        for path in paths:
            self._client.log_artifact(self._study, str(path), folder or None)

    def table(self, columns: Mapping[str, Sequence[Any]], file: str) -> None:
        """Keep a table as an artifact that the dashboard shows, in place of an older one (MLflow would append)."""
        if self._has(file):
            data = [list(line) for line in zip(*columns.values(), strict=True)]
            self._client.log_dict(self._study, {"columns": list(columns), "data": data}, file)
        else:
            self._client.log_table(self._study, dict(columns), file)

    def close(self, status: str = "FINISHED") -> None:
        """End every open run with a status, so that none looks as if it were running."""
        for run in self._open_runs:
            with suppress(
                Exception
            ):  # an evaluation is worth more than its picture, and there may be an error to tell of
                self._client.set_terminated(run, status)

    def _has(self, file: str) -> bool:
        return any(item.path == file for item in self._client.list_artifacts(self._study))

    def _all_runs(self) -> "list[Run]":
        runs, token = [], None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            runs += list(page)
            token = page.token
            if not token:
                return runs

    def _open(self, key: str, name: str, parent: str | None) -> str:
        """The run of a key, running (again)."""
        if key in self._runs:
            run = self._runs[key].info.run_id
            self._client.update_run(run, status="RUNNING")
        else:
            run = self._create(key, name, parent)
        self._open_runs.append(run)
        return run

    def _create(self, key: str, name: str, parent: str | None, began: int | None = None) -> str:
        tags = {KEY: key, "level": key.split()[0], **({"mlflow.parentRunId": parent} if parent else {})}
        run = self._client.create_run(self._experiment, start_time=began, run_name=name, tags=tags)
        self._runs[key] = run
        return str(run.info.run_id)

    def _log(
        self, run: str, params: Mapping[str, str] | None = None, metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None, step: int = 0, timestamp: int | None = None,
    ) -> None:  # fmt: skip
        from mlflow.entities import Metric, Param, RunTag

        known = self._client.get_run(run).data.params if params else {}
        moment = timestamp if timestamp is not None else _ms(math.nan)
        new = [Param(k, v) for k, v in (params or {}).items() if k not in known]
        measured = [Metric(k, v, moment, step) for k, v in (metrics or {}).items()]
        self._client.log_batch(run, measured, new[:100], [RunTag(k, v) for k, v in (tags or {}).items()])


def _client(root: Path) -> "MlflowClient":
    """A client of the root's database, which is made, under a lock, where there is none."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import logging

    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    root.mkdir(parents=True, exist_ok=True)
    check_sqlite(root / "mlflow.db")
    with locked(root / "mlflow.lock"):
        client = MlflowClient(tracking_uri=database(root))
        client.search_experiments(max_results=1)
    return client


def _ms(seconds: float) -> int:
    import time

    return int(1000 * (time.time() if math.isnan(seconds) else seconds))


def serve(root: Path, port: int) -> int:
    """Show the dashboard on 127.0.0.1 until interrupted; returns its exit status. Raises Failed for a port in use."""
    import signal
    import subprocess

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Failed(
                f"Port {port} on 127.0.0.1 cannot be used ({error.strerror}); give another with --port."
            ) from None
    _client(root)
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database(root), "--host", "127.0.0.1",
               "--port", str(port), "--default-artifact-root", (root / "artifacts").resolve().as_uri()]  # fmt: skip
    print(f"MLflow on http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    with subprocess.Popen(command, env=environment) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return 0
