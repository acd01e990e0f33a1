"""The commands probe, calibrate, sample, score, table and train, each by the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from study.cli.main import call
from tests.command_line import SMALL, says


def test_probe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The promised keys, what mean errors are known to say of the shipped base, and endpoints that
    the search finds."""
    from mlflow import MlflowClient

    from study.tracking import database

    quick = [
        "--root",
        str(tmp_path),
        "--probe.images",
        "64",
        "--probe.levels",
        "4",
        "--probe.draws",
        "4",
    ]
    assert call(["probe", SMALL, *quick, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    keys = {
        "main",
        "guide",
        "coupling",
        "cosine",
        "ratio",
        "criterion",
        "gain",
        "gain_ci",
        "weight",
        "weight_ci",
        "endpoint_weight",
        "endpoint_gain",
        "by_sigma",
    }
    for row in rows:
        assert set(row) >= keys
        assert len(row["by_sigma"]["sigma"]) == len(row["by_sigma"]["criterion"]) == 4
        assert set(row["endpoints"]) == {"fd_digits", "fd_pixels"}
        if row["weight"] is not None:
            assert row["weight_ci"][0] < row["weight"] < row["weight_ci"][1]
    same, other, _ = rows
    assert same["criterion"] > 1 > other["criterion"]
    assert (tmp_path / "reports" / "small" / "probe-criterion.png").is_file()
    client = MlflowClient(database(tmp_path))
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    by_name = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert (
        by_name["noise(0.2) → noise(0.4), shared"].data.metrics["probe_criterion"]
        == rows[2]["criterion"]
    )
    kept = {item.path for item in client.list_artifacts(by_name["small"].info.run_id, "probe")}
    assert kept >= {
        "probe/probe.json",
        "probe/probe.md",
        "probe/probe-criterion.png",
        "probe/probe-endpoint_weight.png",
    }
    assert {run.info.status for run in by_name.values()} == {"FINISHED"}
    assert call(["probe", SMALL, *quick]) == 0  # endpoints are kept
    shown = capsys.readouterr()
    assert "endpoints:" not in shown.err
    assert "ρ·r" in shown.out
    says(capsys, ["probe", SMALL, *quick, "--format", "xml"], 2, "--format: found xml")


def test_probe_of_several_guides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = [
        "--root",
        str(tmp_path),
        "--probe.images",
        "64",
        "--probe.levels",
        "4",
        "--probe.draws",
        "8",
    ]
    both = ["--main", "noise(0.2)", "--guides", "[noise(0.4), dropout(0.4)]"]
    assert call(["probe", SMALL, *quick, *both]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["guides"] == ["noise(0.4)", "dropout(0.4)"]
    assert len(found["weights"]) == len(found["weights_on_trajectories"]) == 2
    says(capsys, ["probe", SMALL, *quick, *both[:2]], 2, "found only one of them")
    says(capsys, ["probe", SMALL, *quick, *both[:3], "[noise(0.4)]"], 2, "two different")


def test_calibrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Strengths within the tolerance, by real evaluations; what cannot be reached is said."""
    argv = [
        "calibrate",
        SMALL,
        "--root",
        str(tmp_path),
        "--sampler.steps",
        "18",
        "--calibrate.kinds",
    ]
    assert (
        call([*argv, "[noise, label-drop]", "--calibrate.levels", "[1.5, 30]", "--format", "json"])
        == 0
    )
    noise, label = json.loads(capsys.readouterr().out)
    assert noise["ratios"][0] == pytest.approx(1.5, rel=0.05)
    assert label["strengths"][0] is not None
    assert label["strengths"][1] is None
    assert "label-drop(1)" in label["reason"]
    assert (tmp_path / "reports" / "small" / "calibration.json").is_file()
    says(capsys, [*argv, "[noise]", "--format", "xml"], 2, "--format: found xml")


def test_sample_and_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guided = [
        "--main",
        "dropout(0.2)",
        "--guide",
        "dropout(0.4)",
        "--weight",
        "2",
        "--samples",
        "40",
    ]
    for form, out in (("npz", "a"), ("folder", "b")):
        assert call(["sample", SMALL, *guided, "--format", form, "--out", str(tmp_path / out)]) == 0
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"grid.png", "samples.npz"}
    assert len(list((tmp_path / "b" / "images").glob("*.png"))) == 40
    for path in ("a/samples.npz", "b/images"):
        capsys.readouterr()
        assert call(["score", str(tmp_path / path), "--reference", "digits"]) == 0
        assert "fd_digits" in capsys.readouterr().out
    with np.load(tmp_path / "a" / "samples.npz") as file:
        assert file["samples"].shape == (40, 1, 8, 8)
    says(capsys, ["sample", SMALL, "--weight", "nan"], 2, "weight", "nan")
    says(capsys, ["sample", SMALL, "--main", "dropout(2)"], 2, "dropout(2)")
    says(capsys, ["sample", SMALL, "--format", "gif"], 2, "npz, folder")
    says(capsys, ["sample", SMALL, "--samples", "0"], 2, "--samples")


def test_score_rejects_what_it_cannot_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from study.data import load_data
    from study.files.images import write_npz
    from study.metrics import load_extractor, references

    write_npz(tmp_path / "x.npz", load_data("digits").samples[:50])
    extractor = load_extractor("pixels")
    references(load_data("digits").samples, [extractor])["pixels"].save(tmp_path / "pixels.npz")
    (tmp_path / "empty").mkdir()
    x = str(tmp_path / "x.npz")
    assert (
        call(["score", x, "--reference", str(tmp_path / "pixels.npz"), "--extractor", "pixels"])
        == 0
    )
    assert call(["score", x, "--reference", x, "--format", "json"]) == 0
    says(
        capsys,
        ["score", x, "--reference", str(tmp_path / "pixels.npz")],
        2,
        "'pixels'",
        "accepted: 'digits'",
    )
    says(capsys, ["score", str(tmp_path / "empty"), "--reference", "digits"], 2, "no images")
    says(capsys, ["score", str(tmp_path / "none"), "--reference", "digits"], 2, "no such")
    says(capsys, ["score", x, "--reference", "nothing"], 2, "nothing")
    says(capsys, ["score", x, "--reference", "digits", "--extractor", "rff"], 2, "rff")
    says(
        capsys,
        ["score", x, "--reference", "digits", "--extractor", "fid"],
        2,
        "fid",
        "digits, dinov2, inception",
    )
    says(capsys, ["score", x], 2, "reference")


def test_table_rejects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    says(capsys, ["table", "x", "--root", str(tmp_path)], 2, "found no studies")
    says(capsys, ["table"], 2, "name")
    says(capsys, ["sync", "x", "--root", str(tmp_path)], 2, "found no studies")
    (tmp_path / "optuna.db").write_text("not a database")
    says(
        capsys,
        ["table", "x", "--root", str(tmp_path)],
        2,
        "optuna.db",
        "file is not a database",
        "move it away",
    )


def test_train_resumes_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "train",
        SMALL,
        "--out",
        str(tmp_path / "b"),
        "--recipe.steps",
        "20",
        "--recipe.batch",
        "8",
    ]
    assert call(argv) == 0
    before = (tmp_path / "b" / "weights.safetensors").stat().st_mtime_ns
    assert call(argv) == 0
    assert (tmp_path / "b" / "weights.safetensors").stat().st_mtime_ns == before
    assert (
        call(
            [
                "sample",
                SMALL,
                "--base",
                str(tmp_path / "b"),
                "--samples",
                "4",
                "--out",
                str(tmp_path / "s"),
            ]
        )
        == 0
    )
    says(capsys, ["train", SMALL, "--recipe.lr", "-1"], 2, "recipe.lr")
    says(capsys, [*argv, "--recipe.steps", "30"], 2, "recipe.steps: 20 then, 30 now", "--retrain")
    (tmp_path / "b" / "card.json").unlink()  # as if it had been interrupted
    says(capsys, [*argv, "--recipe.steps", "30"], 2, "recipe.steps: 20 then, 30 now")
