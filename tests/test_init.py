"""`study init`: a config for each kind of base, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from degradations import InputError
from study.checkpoints import load_base
from study.cli.config import load_spec
from study.cli.main import call
from study.engine.init import config_of
from tests.command_line import says
from tests.test_own_data import images, write


def folder(tmp_path: Path, n: int = 12, colours: bool = True) -> str:
    return str(
        write(tmp_path / "pets", images(n, colours), [f"{'ab'[i % 2]}/{i}.png" for i in range(n)])
    )


def loads(text: str, tmp_path: Path) -> object:
    (tmp_path / "found.yaml").write_text(text)
    return load_spec(tmp_path / "found.yaml")


def test_a_base_of_one_s_own_images(tmp_path: Path) -> None:
    place = folder(tmp_path)
    text = config_of("pets", "recipe", place, tmp_path)
    spec = loads(text, tmp_path)
    assert (spec.name, spec.base, spec.recipe.data) == ("pets", None, place)  # type: ignore[attr-defined]
    assert spec.reference == place  # too few to hold some out
    assert spec.recipe.label_dropout > 0
    assert "12 samples [3, 6, 6], 2 classes" in text
    std = float(np.asarray(images(12)).astype(float).std() / 127.5)
    assert spec.recipe.sigma_data == pytest.approx(std, rel=0.01)
    assert all("#" in line for line in text.splitlines() if line.startswith(("base", "search")))


def test_larger_images_have_a_network_of_patches(tmp_path: Path) -> None:
    place = folder(tmp_path)
    spec = loads(config_of("pets", "recipe", f"{place}@size=32", tmp_path), tmp_path)
    network = spec.recipe.network  # type: ignore[attr-defined]
    assert (network.kind, network.patch) == ("transformer", 4)
    assert spec.extractors == ("inception",)  # type: ignore[attr-defined]
    grey = folder(tmp_path / "grey", colours=False)
    spec = loads(config_of("pets", "recipe", f"{grey}@size=32", tmp_path), tmp_path)
    assert spec.extractors == ("random", "pixels")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("base", "data"),
    [
        ("digits", "digits"),
        ("digits-cfg", "digits"),
        ("exact", "fractal"),
        ("recipe", "fractal"),
        ("recipe", "digits"),
    ],
)
def test_shipped_bases_and_data(base: str, data: str, tmp_path: Path) -> None:
    spec = loads(config_of("x", base, data, tmp_path), tmp_path)
    assert spec.base == (None if base == "recipe" else base)  # type: ignore[attr-defined]
    if base not in ("recipe", "exact"):
        assert {p.main.partition("(")[0] for p in spec.pairings} == {"dropout", "noise"}  # type: ignore[attr-defined]
    if base == "exact":
        assert {p.main.partition("(")[0] for p in spec.pairings} == {"noise"}  # type: ignore[attr-defined]


def test_what_is_written_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a folder of images to a table; what takes long made small."""
    place = folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call(["init", "--data", "pets", "--name", "mine"]) == 0
    text = Path("mine.yaml").read_text()
    small = {"steps: 6000": "steps: 20", "steps: 24": "steps: 4", r"samples: \d+": "samples: 40"}
    for before, after in small.items():
        text, n = re.subn(before, after, text)
        assert n
    Path("mine.yaml").write_text(
        re.sub(r"trials: \d", "trials: 2", text.replace("seed_sets: 4", "seed_sets: 2"))
    )
    assert call(["run", "mine.yaml", "--confirm.controls", "false"]) == 0
    assert "dropout(0.1) → dropout(0.2)" in capsys.readouterr().out
    assert place


def test_what_cannot_be_begun_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"one of samples \[1, 8, 8\]; the data .* are \[3, 6, 6\]; acc.*of its"
    ):
        config_of("x", "digits", place, tmp_path)
    grey = folder(tmp_path / "grey", colours=False)
    with pytest.raises(InputError, match="accepted: such images, as by '@size=8'"):
        config_of("x", "digits", grey, tmp_path)
    says(capsys, ["init"], 2, "--data: found nothing; accepted: a value, as nobody can be asked")
    says(capsys, ["init", "--data", "pets", "--name", "a b"], 2, "name: found 'a b'")
    says(capsys, ["init", "--data", "pets", "--name", "x", "--base", "nothing"], 2, "'nothing'")
    Path("x.yaml").write_text("")
    says(capsys, ["init", "--data", "pets", "--name", "x"], 2, "--out x.yaml: exists already")
    assert Path("x.yaml").read_text() == ""


def test_it_asks_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    answers = iter(["pets", "", "", "asked"])
    monkeypatch.setattr("builtins.input", lambda text: next(answers))
    assert call(["init"]) == 0
    assert yaml.safe_load(Path("asked.yaml").read_text())["base"] is None
    assert load_base("digits", None).name == "digits"
