"""Plug-ins: run only where that is allowed, each in a process of its own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from degradations import Denoiser, Kind
from study.data import DATA, Data

Path("ran").touch()


@dataclass(frozen=True)
class Shifted(Kind):
    """`shifted(s)`: D(x) + s."""

    kind: ClassVar[str] = "shifted"

    def degrade(self, base: Denoiser) -> Denoiser:
        return _Shifted(base, self.strength)


class _Shifted(Denoiser):
    def __init__(self, base, by):
        super().__init__()
        self.base, self.by = base, by

    def forward(self, x, sigma, condition=None, draws=None):
        return self.base(x, sigma, condition, draws) + self.by


def cross():
    """Points on two lines, [400, 2]."""
    t = torch.linspace(-1, 1, 200)
    return Data("cross", torch.cat([torch.stack([t, 0 * t], 1), torch.stack([0 * t, t], 1)]))


DATA["cross"] = cross
'''
CONFIG = """
name: mine
base: digits
plugins: [mine.py]
extractors: [pixels]
sampler: {steps: 4, sigma_max: 40}
pairings: [{main: shifted(0.1), guide: shifted(0.2), coupling: shared}]
search: {samples: 40, trials: 2}
confirm: {samples: 40, seed_sets: 2, controls: false}
"""


def study(tmp_path: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "study.cli", *argv]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path / 'installed'}"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
    )


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path


def test_without_permission_nothing_runs(mine: Path) -> None:
    digest = hashlib.sha256((mine / "mine.py").read_bytes()).hexdigest()
    for extra in ([], ["--plan"]):
        done = study(mine, "run", "mine.yaml", *extra)
        assert done.returncode == 2
        assert f"the config names mine.py (SHA-256 {digest}); nothing was run" in done.stderr
        assert "--allow-plugins" in done.stderr
    assert not (mine / "ran").exists()


@pytest.mark.slow
def test_with_permission_its_parts_are_ours(mine: Path) -> None:
    """Two processes, a table of the results; a changed plug-in is another study."""
    done = study(mine, "run", "mine.yaml", "--allow-plugins", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "shifted(0.1) → shifted(0.2)" in done.stdout
    shown = study(mine, "table", "mine")
    assert "shifted(0.1) → shifted(0.2)" in shown.stdout, shown.stderr
    (mine / "mine.py").write_text(PLUGIN + "\n# changed\n")
    changed = study(mine, "run", "mine.yaml", "--allow-plugins")
    assert changed.returncode == 2
    assert "was begun with other values" in changed.stderr
    assert "plugins" in changed.stderr


@pytest.mark.slow
def test_its_data_can_be_trained_on(mine: Path) -> None:
    keys = ["--base", "null", "--reference", "cross", "--recipe.data", "cross"]
    keys += ["--recipe.steps", "5", "--pairings", "[{main: noise(0.1), guide: noise(0.2)}]"]
    done = study(mine, "run", "mine.yaml", "--allow-plugins", *keys)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import nothing_at_all", "mine.py: fails to load (ModuleNotFoundError: No module named"),
        ("def f(:", "mine.py: fails to load (SyntaxError"),
        ("raise SystemExit(0)", "mine.py: fails to load (SystemExit"),
        (
            PLUGIN.replace('"shifted"', '"dropout"'),
            "mine.py: registers the degradation 'dropout', a name that is taken",
        ),
        (
            PLUGIN.replace('DATA["cross"]', 'DATA["digits"]'),
            "mine.py: registers the data set 'digits', a name that is taken",
        ),
    ],
)
def test_what_is_no_plug_in_is_refused(mine: Path, text: str, why: str) -> None:
    (mine / "mine.py").write_text(text)
    done = study(mine, "run", "mine.yaml", "--allow-plugins", "--plan")
    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_are_no_python(mine: Path) -> None:
    for name, why in (
        ("mine.txt", "accepted: Python files, .py"),
        ("no.py", "no.py: no such file"),
    ):
        done = study(
            mine, "run", "mine.yaml", "--allow-plugins", "--plugins", f"[{name}]", "--plan"
        )
        assert done.returncode == 2
        assert why in done.stderr


@pytest.mark.slow
def test_an_installed_package_needs_no_permission(mine: Path) -> None:
    installed = mine / "installed"
    (installed / "parts-1.2.dist-info").mkdir(parents=True)
    (installed / "parts.py").write_text(PLUGIN)
    metadata = "Metadata-Version: 2.1\nName: parts\nVersion: 1.2\n"
    (installed / "parts-1.2.dist-info" / "METADATA").write_text(metadata)
    points = "[degradation_study.plugins]\nparts = parts\n"
    (installed / "parts-1.2.dist-info" / "entry_points.txt").write_text(points)
    done = study(mine, "run", "mine.yaml", "--plugins", "[]")
    assert done.returncode == 0, done.stderr
    assert "shifted(0.1) → shifted(0.2)" in done.stdout
    listed = study(mine, "list", "degradations")
    assert "shifted(STRENGTH)" in listed.stdout
