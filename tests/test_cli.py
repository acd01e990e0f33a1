"""The command line: what is printed, and that every bad input gets one clear message."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from study.cli.config import load_spec
from study.cli.main import COMMANDS, call

SMALL = "tests/small.yaml"


def says(capsys: pytest.CaptureFixture[str], argv: list[str], status: int, *texts: str) -> None:
    """A command line ends with a status and one message that contains the texts, without a
    traceback."""
    capsys.readouterr()
    assert call(argv) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("study: ")
    for text in texts:
        assert text in err


@pytest.mark.parametrize("argv", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(argv) == 0
    out = capsys.readouterr().out
    assert "usage: study" in out
    assert "examples:" in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from study.cli.main import call; call(['--help']); call(['run', '--help'])\n"
    )
    code += (
        "print([m for m in ('torch', 'optuna', 'mlflow', 'pandas', 'scipy', 'numpy') if m in "
        "sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("path", sorted(map(str, Path("configs").glob("*.yaml"))))
def test_configs_say_how_they_are_run_and_are_whole(path: str) -> None:
    first = Path(path).read_text().splitlines()[0]
    assert first.startswith(f"# study run {path}")
    assert re.search(r"\d (minutes|GPU hours)", first)
    assert load_spec(path).name == Path(path).stem


def test_overrides() -> None:
    spec = load_spec(
        SMALL, ["--sampler.steps", "9", "--search.weight", "[1.0, 2.0]", "--search.design", "[1.0]"]
    )
    assert (spec.sampler.steps, spec.search.weight, spec.sampler.chunk) == (9, (1.0, 2.0), 60)


BAD = [
    ("stepz", ["--sampler.stepz", "3"], "stepz"),
    ("wrong type", ["--sampler.steps", "many"], "sampler.steps"),
    ("steps", ["--sampler.steps", "1"], "sampler.steps"),
    ("sigma", ["--sampler.sigma_min", "90"], "sigma_min"),
    ("solver", ["--sampler.solver", "rk4"], "heun"),
    ("p", ["--pairings", "[{main: dropout(1.0), guide: none}]"], "dropout(1)"),
    ("negative noise", ["--pairings", "[{main: noise(-0.1), guide: none}]"], "noise(-0.1)"),
    ("kind", ["--pairings", "[{main: dropuot(0.1), guide: none}]"], "dropuot"),
    ("pairing key", ["--pairings", "[{man: none, guide: none}]"], "man"),
    ("coupling", ["--pairings", "[{main: none, guide: none, coupling: both}]"], "both"),
    ("weight", ["--search.weight", "[1.0, .inf]"], "search.weight"),
    ("weight order", ["--search.weight", "[3.0, 1.0]"], "search.weight"),
    ("design", ["--search.design", "[9.0]"], "search.design"),
    ("extractor", ["--extractors", "[vgg]"], "vgg"),
    ("reference", ["--reference", "imagenet"], "imagenet"),
    ("base", ["--base", "nowhere"], "nowhere"),
    ("recipe", ["--base", "null", "--recipe.data", "fractal"], "recipe.data"),
    (
        "untrainable",
        ["--base", "null", "--pairings", "[{main: dropout(2), guide: none}]"],
        "dropout(2)",
    ),
    ("name", ["--name", "a/b"], "name"),
    ("seed sets", ["--confirm.seed_sets", "1"], "confirm.seed_sets"),
    ("no attention", ["--pairings", "[{main: none, guide: no-attention(1)}]"], "no-attention(1)"),
    ("no map", ["--pairings", "[{main: none, guide: dropout(0.1)+map-blur(1)}]"], "map-blur(1)"),
    ("bits", ["--pairings", "[{main: quantize(0.5), guide: none}]"], "quantize(0.5)"),
    ("variant key", ["--pairings", "[{main: none, guide: digits@snapshto=512}]"], "snapshot"),
    (
        "variant value",
        ["--pairings", "[{main: none, guide: digits@snapshot=500}]"],
        "a power of two",
    ),
    (
        "variant of another",
        ["--pairings", "[{main: none, guide: nowhere@snapshot=512}]"],
        "nowhere",
    ),
    (
        "variant, then no degradation",
        ["--pairings", "[{main: none, guide: digits@ema=0.05+dropuot(1)}]"],
        "dropuot",
    ),
    ("guides", ["--search.guides", "[digits@width=9]"], "width"),
    ("kinds", ["--calibrate.kinds", "[dropuot]"], "calibrate.kinds"),
    ("kind without its site", ["--calibrate.kinds", "[no-attention]"], "no-attention"),
    ("levels", ["--calibrate.levels", "[3, 1.5]"], "calibrate.levels"),
    ("interval", ["--search.interval", "[9, 1]"], "search.interval"),
    ("tolerance", ["--search.method", "probe", "--search.tolerance", "9"], "search.tolerance"),
    ("budget", ["--search.budget", "40"], "search.budget"),
    ("workers", ["--workers", "0"], "--workers 0"),
    ("probe", ["--probe.draws", "1"], "probe.draws"),
]


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["run", "plan"])
@pytest.mark.parametrize(("argv", "text"), [pytest.param(a, t, id=i) for i, a, t in BAD])
def test_bad_values_are_refused_by_name(
    argv: list[str], text: str, plan: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    says(capsys, ["run", SMALL, "--root", str(tmp_path / "r"), *argv, *plan], 2, text)
    assert not (tmp_path / "r").exists()


def test_bad_configs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    bad = {
        "nam: x": "Did you mean name",
        "name: x\nsampler: {step: 3}": "sampler.steps",
        "name: [": "not YAML",
        "": "found nothing",
        "name: x\nsampler: {steps: x}": "sampler.steps",
        "- 1": "found [1]",
    }
    for content, text in bad.items():
        path.write_text(content)
        says(capsys, ["run", str(path)], 2, text)
    says(capsys, ["run", str(tmp_path / "none.yaml")], 2, "no such file")
    says(capsys, ["run"], 2, "CONFIG")
    says(capsys, ["rnu"], 2, "rnu", "run, worker")


OPTIONS = [
    (["run", SMALL, "--nmae", "x"], "--nmae: no such option. Did you mean --name?"),
    (["run", SMALL, "--worker", "2"], "--worker: no such option. Did you mean --workers?"),
    (["run", SMALL, "--steps", "9"], "Did you mean --recipe.steps or --sampler.steps?"),
    (
        ["run", SMALL, "--sampler.step=9"],
        "--sampler.step: no such option. Did you mean --sampler.steps?",
    ),
    (["run", SMALL, "--workers", "x"], "--workers: found 'x'; accepted is a whole number."),
    (
        ["run", SMALL, "--sampler.solver", "rk4"],
        "sampler.solver: found 'rk4'; accepted are euler, heun.",
    ),
    (["run", SMALL, "--sampler.steps"], "--sampler.steps: no value"),
    (
        ["run", SMALL, "--pairings", "[{main: none, guide: none, couplng: shared}]"],
        "[0].couplng: no such key. Did you",
    ),
    (["run", "configs/digit.yaml"], "Did you mean configs/digits.yaml?"),
    (["rnu"], "unknown command 'rnu'. Did you mean run?"),
    (
        ["score", "x", "--refrence", "digits"],
        "--refrence: no such option. Did you mean --reference?",
    ),
    (["dashboard", "--port", "x"], "--port: found 'x'; accepted is a whole number."),
    (
        ["sample", SMALL, "--samples", "100000000000"],
        "--samples 100000000000: from 1 to 10,000,000 are accepted",
    ),
    (["sample", SMALL, "--main", "noise(0.1)+" * 24 + "noise(0.1)"], "--out: missing"),
]


@pytest.mark.parametrize(
    ("argv", "text"), OPTIONS, ids=[" ".join(argv)[:60] for argv, _ in OPTIONS]
)
def test_a_wrong_option_is_named_with_what_may_be_meant(
    argv: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    says(capsys, [*argv, *([] if argv == ["rnu"] else ["--root", str(tmp_path / "r")])], 2, text)
    assert not (tmp_path / "r").exists()


def test_the_config_may_stand_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["--plan", "--root", str(tmp_path / "r")]
    for argv in (
        [SMALL, *plan],
        ["--config", SMALL, *plan],
        ["--sampler.steps", "9", "--workers", "2", *plan, SMALL],
    ):
        assert call(["run", *argv]) == 0
        assert f"{17 if '9' in argv else 11} evaluations a sample" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "within"):
        says(
            capsys,
            ["run", SMALL, "--root", str(root)],
            2,
            f"--root {root}",
            "is a file; a folder is accepted",
        )
    says(capsys, ["run", SMALL, "--root", "x" * 300], 2, "--root", "too long")
    says(capsys, ["train", SMALL, "--out", str(tmp_path / "file")], 2, "--out", "is a file")
    monkeypatch.setattr("study.files.places.os.access", lambda place, mode: not mode & os.W_OK)
    says(
        capsys,
        ["run", SMALL, "--root", str(tmp_path / "new")],
        2,
        f"no permission to write in {tmp_path}",
    )
    # which writes nothing
    assert call(["run", SMALL, "--root", str(tmp_path / "new"), "--plan"]) == 0


def test_a_missing_folder_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "misspelt" / "out"
    says(
        capsys,
        ["reference", "digits", "--out", f"{out}.npz", "--extractor", "digits"],
        2,
        "there is no folder",
    )
    says(
        capsys, ["convert", str(tmp_path / "x.pkl"), f"{out}.safetensors"], 2, "there is no folder"
    )
    assert not list(tmp_path.iterdir())


def test_data_elsewhere_are_no_place_for_a_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from study.specs import RecipeSpec
    from study.training import folder_of

    (tmp_path / "images").mkdir()
    for data in (str(tmp_path / "images"), "../images", ".."):
        argv = ["train", SMALL, "--recipe.data", data, "--root", str(tmp_path / "r")]
        says(capsys, argv, 2, f"data set '{data}': known are digits, fractal")
        assert (
            folder_of(RecipeSpec(data), tmp_path / "r").resolve().parent == tmp_path / "r" / "bases"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert folder_of(RecipeSpec(), Path("r")) == Path("r/bases/digits-5e71cc8ee77f")


def test_a_base_without_the_sites_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "run",
        SMALL,
        "--root",
        str(tmp_path / "r"),
        "--base",
        "exact",
        "--reference",
        "fractal",
    ]
    says(capsys, [*argv, "--extractors", "[rff]"], 2, "dropout(0.4)", "ExactMixture has no sites")


def test_a_label_degradation_wants_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run", "configs/fractal.yaml", "--root", str(tmp_path / "r"), "--recipe.steps", "10"]
    for name in ("label-drop", "input-blur"):
        says(capsys, [*argv, "--pairings", f"[{{main: none, guide: {name}(0.1)}}]"], 2, name)
    assert not (tmp_path / "r").exists()


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
    says(capsys, ["probe", SMALL, *quick, "--format", "xml"], 2, "--format xml")


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
    says(capsys, ["probe", SMALL, *quick, *both[:2]], 2, "go together")
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
    says(capsys, [*argv, "[noise]", "--format", "xml"], 2, "--format xml")


def test_the_short_form_of_a_grid(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("name: grid\nbase: digits\nsearch: grid\n")
    search = load_spec(path).search
    assert (search.method, search.weight, len(search.weights)) == ("grid", (1.0, 3.5), 51)


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
    says(capsys, ["sample", SMALL, "--format", "gif"], 2, "npz and folder")
    says(capsys, ["sample", SMALL, "--samples", "0"], 2, "--samples")


def test_score_refuses_what_it_cannot_compare(
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
        "'digits' is wanted",
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
        "digits, pixels, rff",
    )
    says(capsys, ["score", x], 2, "reference")


def test_table_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    says(capsys, ["table", "x", "--root", str(tmp_path)], 2, "no studies here")
    says(capsys, ["table"], 2, "name")
    says(capsys, ["sync", "x", "--root", str(tmp_path)], 2, "no studies here")
    (tmp_path / "optuna.db").write_text("not a database")
    says(
        capsys,
        ["table", "x", "--root", str(tmp_path)],
        2,
        "optuna.db",
        "file is not a database",
        "move it away",
    )


def test_a_port_in_use_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        says(
            capsys,
            ["dashboard", "--port", str(port), "--root", str(tmp_path)],
            1,
            str(port),
            "--port",
        )
    says(capsys, ["dashboard", "--port", "99999"], 2, "99999")


def test_a_full_disk_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    import study.files.images

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study.files.images.np, "savez_compressed", full)
    out = tmp_path / "out"
    says(
        capsys,
        ["sample", SMALL, "--samples", "4", "--out", str(out)],
        1,
        "disk is full",
        "No space left",
    )
    assert {p.name for p in out.iterdir()} == {"grid.png"}


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
    says(capsys, [*argv, "--recipe.steps", "30"], 2, "recipe.steps: 20 then, 30 now", "--again")
    (tmp_path / "b" / "card.json").unlink()  # as if it had been interrupted
    says(capsys, [*argv, "--recipe.steps", "30"], 2, "recipe.steps: 20 then, 30 now")
