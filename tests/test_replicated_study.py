"""A study over several bases, by the command line: what is refused, and what it leaves."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from degradations import InputError
from study.cli.main import call
from study.data import load_data
from study.results import read
from study.specs import StudySpec
from tests.command_line import says

REPLICATED = "tests/replicated.yaml"


class TestBadInput:
    @pytest.mark.parametrize(
        ("bases", "message"),
        [
            (("digits",), "bases: found .*; accepted: at least two, for an interval over them"),
            (("digits", "digits"), "bases: found .*; accepted: each one once"),
            (("digits", "x" * 200), "name: found"),
        ],
    )
    def test_bases(self, bases: tuple[str, ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            StudySpec("x", bases=bases)

    def test_a_base_and_bases(self) -> None:
        with pytest.raises(InputError, match="nothing together with bases: --base null for them"):
            StudySpec("x", base="digits", bases=("digits", "digits-part"))

    @pytest.mark.parametrize(
        ("change", "texts"),
        [
            (
                ["--bases", "[digits, digits-part]"],
                ("nothing was held out from the base 'digits'",),
            ),
            (["--reference", "fractal"], ("the data set 'digits'", "'fractal'")),
            (["--recipe.samples", "0.001"], ("leaves out of training the classes", "of 'digits'")),
            (["--recipe.samples", "0.999"], ("no sample of the classes", "was held out")),
            (["--recipe.split", "-1"], ("recipe.split: found -1",)),
            (["--bases", "[base@split=x, base]"], ("split: found 'x'",)),
            (["--verify"], ("--retrain, --verify: found with bases",)),
        ],
    )
    def test_refused_before_anything_is_trained(
        self,
        change: list[str],
        texts: tuple[str, ...],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        root = tmp_path / "root"
        says(capsys, ["run", REPLICATED, *change, "--root", str(root)], 2, *texts)
        assert not (root / "bases").exists()

    def test_bases_that_differ_in_data(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from study.engine.trainings import train_base
        from study.specs import NetworkSpec, RecipeSpec

        small = RecipeSpec("fractal", NetworkSpec(8, 8, 1, 4), steps=1, batch=8, samples=0.9)
        other = train_base(StudySpec("x", recipe=small, reference="fractal"), tmp_path / "other")
        argv = ["run", REPLICATED, "--bases", f"[digits-part, {other}]", "--root", str(tmp_path)]
        says(capsys, argv, 2, "bases: found digits-part of the data 'digits'", "of 'fractal'")

    def test_forecasts_of_several_bases(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = ["probe", REPLICATED, "--out", str(tmp_path / "f.csv"), "--root", str(tmp_path)]
        says(capsys, argv, 2, "--out: forecasts are of one base, found 3; choose it by --bases []")

    @pytest.mark.parametrize("command", ["calibrate", "sample"])
    def test_a_command_that_needs_one_base_says_how_to_choose_it(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = [command, REPLICATED, "--root", str(tmp_path)]
        says(capsys, argv, 2, "bases: found 3, where one is needed; choose it by --bases [] --base")


class TestStudy:
    def test_splits_are_by_seed_and_cover_every_class(self) -> None:
        digits = load_data("digits")
        parts = [digits.split(0.8, seed) for seed in (0, 1)]
        held_out = [{row.numpy().tobytes() for row in part[1].samples} for part in parts]
        shared = len(held_out[0] & held_out[1]) / len(held_out[0])
        # by chance a fifth of one is in the other
        assert shared == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 * 0.8 / 359))
        assert all(part.missing == [] for pair in parts for part in pair)

    def test_probes_of_each_base(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        quick = ["--probe.images", "60", "--probe.levels", "4", "--probe.draws", "4"]
        argv = ["probe", REPLICATED, *quick, "--root", str(tmp_path)]
        assert call([*argv, "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["base"] for row in rows] == [f"base@split={n},seed={n}" for n in range(3)]
        assert len({row["cosine"] for row in rows}) == 3
        for n, row in enumerate(rows):
            own = tmp_path / "reports" / f"replicated.base-split-{n}-seed-{n}" / "probe.json"
            assert [{**each, "base": row["base"]} for each in json.loads(own.read_text())] == [row]
        assert call(argv) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("| base")
        assert sum("noise(0.2)" in line for line in lines) == 3

    def test_a_study_over_bases(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        root = str(tmp_path)
        assert call(["run", REPLICATED, "--root", root]) == 0
        shown = capsys.readouterr().out
        assert "Intervals are over bases" in shown
        rows = self.table(root, capsys)
        (row,) = rows
        promised = "pairing main guide coupling metric samples steps seeds fd_base fd_main fd_guide"
        promised += " weight fd fd_sd recovered recovered_ci verdict slope slope_ci rule"
        assert set(promised.split()) <= row.keys()
        assert row["bases"] == ["base@split=0,seed=0", "base@split=1,seed=1", "base@split=2,seed=2"]
        assert set(row["spread"]["fd_main"]) == {"training", "sampling", "reference"}
        alone = [
            self.table(root, capsys, f"replicated.base-split-{n}-seed-{n}")[0] for n in range(3)
        ]
        assert row["fd_base"] == pytest.approx(np.mean([each["fd_base"] for each in alone]))
        assert len({each["fd_base"] for each in alone}) == 3
        for suffix in ("md", "csv", "json", "tex"):
            assert (tmp_path / "reports" / "replicated" / f"table.{suffix}").is_file()
        # nothing is left to do, for a worker, and for another run
        assert call(["worker", REPLICATED, "--root", root]) == 0
        capsys.readouterr()
        assert call(["run", REPLICATED, "--root", root]) == 0
        assert " alone: " not in capsys.readouterr().err
        assert self.table(root, capsys) == rows
        kept = tmp_path / "reports" / "replicated" / "table.json"
        assert call(["sync", "replicated", "--root", root]) == 0
        assert json.loads(kept.read_text(encoding="utf-8")) == rows
        frames = read("replicated", tmp_path)
        assert list(frames.table["fd_base"]) == [row["fd_base"]]
        assert set(frames.trials["base"]) == set(row["bases"]) == set(frames.bases)
        assert len(frames.trials) == sum(len(each.trials) for each in frames.bases.values())

    @staticmethod
    def table(
        root: str, capsys: pytest.CaptureFixture[str], name: str = "replicated"
    ) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert call(["table", name, "--root", root, "--format", "json"]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    def test_a_plan_is_of_one_base_and_says_so(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(["run", REPLICATED, "--plan", "--root", str(tmp_path)]) == 0
        assert "This is for base@split=0,seed=0, one of 3 bases." in capsys.readouterr().out
        assert not list(tmp_path.iterdir())
