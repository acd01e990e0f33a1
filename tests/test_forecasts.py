"""Forecasts that are written down before a study, and how they turned out."""

import json
from pathlib import Path

import pandas as pd
import pytest

from degradations import InputError
from study.cli.main import call
from study.report.forecasts import missing, predictions, read_forecasts, stated, written
from tests.command_line import SMALL, says

GOOD = """main,guide,theory,weight,rule of thumb
noise(0.2),noise(0.4),improves,1.8,no gain
noise(0.2),dropout(0.4),blends,0.8,improves
"""
SHORT = ["--search.trials", "1", "--confirm.seed_sets", "2", "--confirm.controls", "false"]


def cells(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "main": [main for main, _ in pairs],
            "guide": [guide for _, guide in pairs],
            "main_kind": [main.split("(")[0] for main, _ in pairs],
            "guide_kind": [guide.split("(")[0] for _, guide in pairs],
            "coupling": "independent",
            "rule": "constant",
        }
    )


class TestFile:
    def test_columns_of_verdicts_are_forecasts(self) -> None:
        found = written(
            read_forecasts(GOOD, "x.csv"),
            cells(("noise(0.2)", "dropout(0.4)"), ("noise(0.2)", "noise(0.4)")),
        )
        assert found == {
            "theory, written": (["blends", "improves"], [-1.0, 1.0]),
            "rule of thumb, written": (["improves", "no gain"], [1.0, 0.0]),
        }

    def test_cells_may_be_named_by_their_kinds(self) -> None:
        text = "main_kind,guide_kind,theory\nnoise,noise,improves\n"
        found = written(read_forecasts(text, "x.csv"), cells(("noise(0.2)", "noise(0.4)")))
        assert found == {"theory, written": (["improves"], [1.0])}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "forecasts x.csv: not a CSV file"),
            ("a,b\n1\n1,2,3\n", "forecasts x.csv: not a CSV file"),
            ("a,b\n1,2\n", "found the columns a, b; accepted: main and guide"),
            ("main,guide,theory\nx,y,perhaps\n", "found no column of verdicts; accepted: improves"),
            ("main,guide,theory\nx,y,blends\nx,y,blends\n", "two rows of x → y; accepted: one"),
        ],
    )
    def test_other_texts_are_refused(self, text: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            read_forecasts(text, "x.csv")

    def test_of_a_cell_without_a_forecast_it_says_nothing(self) -> None:
        some = cells(("noise(0.2)", "sigma(0.4)"), ("noise(0.2)", "noise(0.4)"))
        assert missing(read_forecasts(GOOD, "x.csv"), some) == ["noise(0.2) → sigma(0.4)"]
        found = written(read_forecasts(GOOD, "x.csv"), some)
        assert found["theory, written"] == (["", "improves"], [0.0, 1.0])


def version(evaluations: int, digest: str = "a" * 64) -> dict[str, object]:
    return {"sha256": digest, "evaluations": evaluations, "at": "2026-01-01 00:00:00 UTC"}


def test_probes_that_were_not_made_forecast_nothing() -> None:
    found = cells(("noise(0.2)", "noise(0.4)"), ("noise(0.2)", "dropout(0.4)"))
    assert list(predictions(found)) == ["same kind", "always no"]
    found["predicted_endpoint_weight"], found["predicted_endpoint_gain"] = [1.8, 0.8], [0.2, 0.1]
    found["predicted_criterion"] = float("nan")
    said = predictions(found)
    assert list(said) == ["endpoint", "same kind", "always no"]
    assert said["endpoint"] == (["improves", "blends"], [0.2, -0.1])


def test_what_is_said_of_when_forecasts_were_kept() -> None:
    assert "kept before the first guided evaluation" in stated([version(0)], "x.csv")
    assert "FIRST SEEN AFTER 7 GUIDED EVALUATIONS" in stated([version(7)], "x.csv")
    changed = stated([version(0), version(9, "b" * 64)], "x.csv")
    assert (
        "kept before the first guided evaluation. THE FILE WAS CHANGED after 9 guided evaluations"
        in changed
    )


class TestStudy:
    def run(self, tmp_path: Path, text: str, *more: str) -> str:
        """A small study with forecasts; returns the page about them."""
        path = tmp_path / "forecasts.csv"
        path.write_text(text, encoding="utf-8")
        argv = ["run", SMALL, *SHORT, "--extractors", "[digits]", "--forecasts", str(path), *more]
        assert call([*argv, "--root", str(tmp_path / "root")]) == 0
        page = tmp_path / "root" / "reports" / "small" / "forecasts.md"
        return page.read_text(encoding="utf-8")

    def test_a_change_after_results_is_noticed_and_said(self, tmp_path: Path) -> None:
        page = self.run(tmp_path, GOOD)
        assert "kept before the first guided evaluation." in page
        assert "| theory, written " in page
        scored = pd.read_csv(tmp_path / "root" / "reports" / "small" / "forecasts.csv")
        before = scored[(scored["forecast"] == "theory, written") & (scored["over"] == "all")]
        page = self.run(tmp_path, GOOD.replace("blends", "improves"))
        assert "THE FILE WAS CHANGED after" in page
        scored = pd.read_csv(tmp_path / "root" / "reports" / "small" / "forecasts.csv")
        after = scored[(scored["forecast"] == "theory, written") & (scored["over"] == "all")]
        assert after.equals(before)  # what counts is what was said first
        page = self.run(tmp_path, GOOD.replace("improves", "blends"), "--fresh")
        assert "kept before the first guided evaluation. THE FILE WAS CHANGED after" in page

    def test_the_probes_write_a_file_of_forecasts(self, tmp_path: Path) -> None:
        path, root = tmp_path / "forecasts.csv", str(tmp_path / "root")
        few = ["--probe.images", "16", "--probe.levels", "3", "--probe.draws", "2"]
        argv = ["probe", SMALL, *few, "--extractors", "[digits]", "--root", root]
        assert call([*argv, "--out", str(path)]) == 0
        text = path.read_text(encoding="utf-8")
        found = read_forecasts(text, path.name)
        said = written(found, cells(("noise(0.2)", "dropout(0.4)")))
        names = ("endpoint", "w*, trajectories", "same kind")
        assert set(said) > {f"{name}, written" for name in names}
        assert "predicted_weight" in found
        # what the probes evaluated are not yet results
        assert "kept before the first guided evaluation." in self.run(tmp_path, text)

    def test_bad_files_are_named_before_anything_is_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = tmp_path / "root"
        argv = ["run", SMALL, *SHORT, "--root", str(root)]
        says(capsys, [*argv, "--forecasts", "none.csv"], 2, "none.csv: no such file")
        bad = tmp_path / "bad.csv"
        bad.write_bytes(b"\xff\xfe\x00\x01")
        says(capsys, [*argv, "--forecasts", str(bad)], 2, "not UTF-8 text")
        bad.write_text("main,guide,theory\nx,y,blends\n")
        says(capsys, [*argv, "--forecasts", str(bad)], 2, "no row of noise(0.2) → noise(0.4)")
        assert not root.exists()


def test_forecasts_of_the_project_can_be_read() -> None:
    for path in Path("notebooks/forecasts").glob("*.csv"):
        found = read_forecasts(path.read_text(encoding="utf-8"), path.name)
        assert len(found) > 0
        json.dumps(found.to_dict())
