"""Every notebook runs on a finished study."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from study.cli.main import call

QUICK = ["--search.trials", "3", "--confirm.seed_sets", "2", "--confirm.controls", "false"]


@pytest.mark.parametrize(
    ("name", "config", "text"),
    [
        ("digits", "tests/small.yaml", "noise(0.2) → noise(0.4)"),
        ("matrix", "tests/small-matrix.yaml", "quantize"),
    ],
)
def test_notebook_runs(
    name: str, config: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("notebooks") / f"{name}.ipynb"
    if name == "matrix":
        assert call(["probe", config, "--root", str(tmp_path)]) == 0
    assert call(["run", config, "--root", str(tmp_path), *QUICK]) == 0
    shown = execute(path, monkeypatch, STUDY_ROOT=str(tmp_path), STUDY_NAME=Path(config).stem)
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert any(text in str(output.get("data", {})) for output in shown)


def test_the_matrix_that_is_kept_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = execute(Path("notebooks/matrix.ipynb"), monkeypatch)
    assert any(
        "100 cells, 64 of kinds that chose nothing" in output.get("text", "") for output in shown
    )
    assert sum("image/png" in output.get("data", {}) for output in shown) == 4


def test_the_findings_are_shown_from_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = execute(Path("notebooks/findings.ipynb"), monkeypatch)
    figures = sum("image/png" in output.get("data", {}) for output in shown)
    assert figures == len(list(Path("notebooks/figures").glob("findings-*.png")))


def test_a_network_of_one_s_own_is_studied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, and with a study of at most 30 lines beside the network."""
    path = tmp_path / "own-network.ipynb"
    path.write_bytes(Path("notebooks/own-network.ipynb").read_bytes())
    shown = execute(path, monkeypatch)
    assert any("dropout(0.1) → dropout(0.2)" in str(output.get("data", {})) for output in shown)
    assert any("layers.1.2" in str(output.get("data", {})) for output in shown)
    assert (tmp_path / "mlruns" / "optuna.db").is_file()


def execute(path: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[Any]:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), (
        "notebooks are kept without outputs"
    )
    NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in Path("notebooks").glob("*.ipynb")} == {
        "digits",
        "findings",
        "matrix",
        "own-network",
    }
