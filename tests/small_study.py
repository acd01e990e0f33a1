"""A small study, finished, with its table and its runs in MLflow."""

import json
from pathlib import Path
from typing import Any

import pytest

from study.cli.main import call
from study.tracking import database

SMALL = [
    "tests/small.yaml",
    "--search.trials",
    "1",
    "--confirm.seed_sets",
    "2",
    "--extractors",
    "[digits]",
]


def table(root: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert call(["table", "small", "--format", "json", "--root", str(root)]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def client_of(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(database(root))


def runs_of(root: Path, name: str = "small") -> list[Any]:
    client = client_of(root)
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], max_results=1000))
