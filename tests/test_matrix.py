"""Matrix studies, and studies over more than the weight, end to end on small ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from degradations import Interval, parse_rule
from study.cli.main import call
from study.report import forecasts
from study.results import read

MATRIX, SMALL = "tests/small-matrix.yaml", "tests/small.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mlruns")
    assert call(["probe", MATRIX, "--root", str(root)]) == 0
    assert call(["run", MATRIX, "--root", str(root)]) == 0
    return root


def table(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert call(["table", name, "--format", "json", "--root", str(root)]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_every_main_meets_every_guide_at_equal_damage(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table(root, "small-matrix", capsys)
    assert [(r["main"].split("(")[0], r["guide"].split("(")[0]) for r in rows] == [
        ("noise", "noise"),
        ("noise", "quantize"),
        ("quantize", "noise"),
        ("quantize", "quantize"),
    ]
    trials = read("small-matrix", root).trials
    alone = trials[
        (trials.part == "confirm")
        & (trials.seed == 0)
        & (trials.guide == "none")
        & ~trials.endpoint_probe
    ]
    fd = alone.set_index("main").fd_digits
    for row in rows:
        assert fd[row["main"]] / fd["none"] == pytest.approx(1.5, rel=0.2)
        assert fd[row["guide"]] / fd["none"] == pytest.approx(2.5, rel=0.2)
    assert not alone.main.duplicated().any()


def test_its_cells_hold_what_was_measured_and_predicted(root: Path) -> None:
    folder = root / "reports" / "small-matrix"
    cells = pd.read_csv(folder / "matrix.csv")
    probe = {(p["main"], p["guide"]): p for p in json.loads((folder / "probe.json").read_text())}
    for cell in cells.itertuples():
        assert cell.predicted_criterion == pytest.approx(probe[cell.main, cell.guide]["criterion"])
        assert cell.predicted_endpoint_weight == probe[cell.main, cell.guide]["endpoint_weight"]
    assert {path.stem for path in folder.glob("matrix-*.png")} >= {
        "matrix-best-weight",
        "matrix-predicted-criterion",
        "matrix-predicted-endpoint-weight",
    }


def test_a_resumed_matrix_evaluates_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, rows = len(read("small-matrix", root).trials), table(root, "small-matrix", capsys)
    assert call(["run", MATRIX, "--root", str(root)]) == 0
    assert len(read("small-matrix", root).trials) == before
    assert table(root, "small-matrix", capsys) == rows


def test_pairings_of_one_s_own_stand_beside_a_matrix(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--pairings", "[{main: noise(0.2), guide: noise(0.4)}]"]
    assert call(["run", MATRIX, "--root", str(root), *own]) == 0
    rows = table(root, "small-matrix", capsys)
    assert len(rows) == 5
    assert rows[0]["main"] == "noise(0.2)"
    assert len(pd.read_csv(root / "reports" / "small-matrix" / "matrix.csv")) == 5


def test_probes_are_scored_beside_baselines() -> None:
    """A probe that is right, one that is wrong, one that says nothing; "same kind", "always no"."""
    cells = pd.DataFrame(
        {
            "main_kind": ["a", "a", "b", "b"],
            "guide_kind": ["a", "b", "a", "b"],
            "verdict": ["improves", "no gain", "undecided", "improves"],
            "tested_recovered": [0.9, 0.1, -0.2, 0.5],
            "predicted_endpoint_weight": [2.0, 1.0, 1.0, 1.5],
            "predicted_endpoint_gain": [0.5, 0.0, 0.0, 0.2],
            "predicted_criterion": [0.1, 2.0, 2.0, 0.5],
            "predicted_cosine": [None, 0.2, None, None],
            "predicted_criterion_on_trajectories": [None, None, None, None],
        }
    )
    found = forecasts.score(cells)
    apart = found[found["over"] == "different kinds"].set_index("forecast")
    found = found[found["over"] == "all"].set_index("forecast")
    assert found.loc["endpoint", "agreement"] == 1
    # two cells with equal scores of four
    assert found.loc["endpoint", "rank_correlation"] == pytest.approx(np.sqrt(0.9))
    assert found.loc["ρ·r > 1", "agreement"] == 0
    assert found.loc["ρ·r > 1", "rank_correlation"] < -0.5
    assert found.loc["ρ > 0.5", "agreement"] == 0.5
    assert list(found.index) == ["endpoint", "ρ·r > 1", "w*", "ρ > 0.5", "same kind", "always no"]
    assert list(found["predicted"]) == [2, 2, 0, 0, 2, 0]
    assert (found.loc["endpoint", "auc"], found.loc["same kind", "auc"]) == (1, 1)
    # three classes, one of them never predicted
    assert 0 < found.loc["endpoint", "r_k"] < 1
    assert found.loc["always no", "r_k"] == 0
    assert found.loc["endpoint", "beyond"] == pytest.approx(
        found.loc["endpoint", "r_k"] - found.loc["same kind", "r_k"]
    )
    assert set(apart["cells"]) == {2}
    assert apart.loc["same kind", "r_k"] == 0


def test_held_out_data_and_the_variants_of_a_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A base that saw a part of the digits, guided by a snapshot of its training: FD to what it has
    not seen, too."""
    argv = [
        "run",
        SMALL,
        "--root",
        str(tmp_path),
        "--base",
        "digits-part",
        "--confirm.controls",
        "false",
        "--pairings",
        "[{main: none, guide: digits-part@snapshot=16}]",
        "--search.trials",
        "3",
    ]
    assert call(argv) == 0
    (row,) = table(tmp_path, "small", capsys)
    assert row["guide"] == "digits-part@snapshot=16"
    assert row["fd_guide"] > 2 * row["fd_base"]
    assert row["held_out_fd_base"] > 0
    assert row["held_out_fd_base"] != row["fd_base"]
    assert row["recovered"] is None  # nothing was damaged


def test_a_search_over_the_interval_and_the_guide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found is confirmed as it was found: with its interval, and its strength."""
    argv = [
        "run",
        SMALL,
        "--root",
        str(tmp_path),
        "--confirm.controls",
        "false",
        "--search.trials",
        "7",
        "--search.interval",
        "[0.05, 20]",
        "--search.strength",
        "[0.3, 0.9]",
        "--extractors",
        "[digits]",
        "--pairings",
        "[{main: noise(0.2), guide: noise(0.4), coupling: shared}]",
    ]
    assert call(argv) == 0
    trials = read("small", tmp_path).trials
    free = trials[(trials.part != "confirm") & (trials.rule != "constant")]
    assert len(free) >= 2
    for task in free.itertuples():
        (rule,) = parse_rule(task.rule).parts
        assert isinstance(rule, Interval)
        assert 0.05 <= rule.low <= rule.high <= 20
        assert 0.3 <= float(task.guide.removeprefix("noise(").removesuffix(")")) <= 0.9
    (row,) = table(tmp_path, "small", capsys)
    confirmed = trials[(trials.part == "confirm") & (trials.weight != 1)]
    assert set(confirmed.guide) == {row["tested_guide"]}
    assert set(confirmed.weight) == {row["tested_weight"]}


def test_a_grid_evaluates_every_weight(tmp_path: Path) -> None:
    argv = [
        "run",
        SMALL,
        "--root",
        str(tmp_path),
        "--confirm.controls",
        "false",
        "--search.method",
        "grid",
        "--search.weight",
        "[1.0, 1.3]",
        "--search.step",
        "0.1",
        "--search.design",
        "[]",
        "--pairings",
        "[{main: noise(0.2), guide: noise(0.4)}]",
    ]
    assert call(argv) == 0
    trials = read("small", tmp_path).trials
    assert sorted(trials[trials.part != "confirm"].weight) == pytest.approx([1.0, 1.1, 1.2, 1.3])
    assert not trials.endpoint_probe.any()
    differences = read("small", tmp_path).differences
    assert len(differences) == 6  # three weights, two metrics
    assert (differences.low < differences.difference).all()
