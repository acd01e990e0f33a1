"""Every notebook runs on a finished study."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from study.cli import call

NOTEBOOKS = sorted(Path("notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ["--search.trials", "3", "--confirm.seed_sets", "2", "--confirm.controls", "false"]
    assert call(["run", "tests/small.yaml", "--root", str(tmp_path), *quick]) == 0
    monkeypatch.setenv("STUDY_ROOT", str(tmp_path))
    monkeypatch.setenv("STUDY_NAME", "small")
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert any("noise(0.2) → noise(0.4)" in str(output.get("data", {})) for output in shown)
