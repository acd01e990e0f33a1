"""Shipped configs by name, from a checkout and from an installed wheel."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from degradations import InputError
from study.cli.config import load_spec
from study.files.places import shipped_configs

PROJECT = Path(__file__).parents[1]


def test_shipped_configs_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = load_spec("digits")
    assert by_name == load_spec(PROJECT / "configs" / "digits.yaml")
    assert {"digits", "fractal"} <= {each.stem for each in shipped_configs()}
    (tmp_path / "digits").write_text("name: own\nbase: digits\n")  # a file comes first
    assert load_spec("digits").name == "own"
    with pytest.raises(InputError, match=r"config 'digit': no such file\. Did you mean digits\?"):
        load_spec("digit")


@pytest.mark.slow
def test_a_wheel_runs_a_study_elsewhere(tmp_path: Path) -> None:
    """Built from the tree and installed in an empty folder; its dependencies are those of here."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(PROJECT)],
        check=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    found = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = Path(subprocess.check_output([python, "-c", found], text=True).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [*pip, "--python", str(python), "install", "-q", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    empty, study = tmp_path / "empty", str(python.with_name("study"))
    empty.mkdir()
    small = ["--search.samples", "100", "--confirm.samples", "100", "--confirm.seed_sets", "2"]
    small += ["--pairings", "[{main: noise(0.2), guide: noise(0.4)}]", "--extractors", "[digits]"]
    small += ["--sampler.steps", "4", "--search.budget", "null", "--confirm.controls", "false"]
    for argv in (["run", "digits", *small], ["table", "digits"]):
        done = subprocess.run(
            [study, *argv], cwd=empty, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert "noise(0.2) → noise(0.4)" in done.stdout
    assert (empty / "mlruns" / "optuna.db").is_file()
    where = [python, "-c", "import study; print(study.__path__[0])"]
    assert subprocess.check_output(where, text=True, cwd=empty).startswith(str(packages))
