"""The command line: its help, and that every bad option or value gets one clear message."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from study.cli.config import load_spec
from study.cli.main import COMMANDS, call
from tests.command_line import SMALL, says


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
    ("workers", ["--workers", "0"], "--workers: found 0"),
    ("probe", ["--probe.draws", "1"], "probe.draws"),
]


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["run", "plan"])
@pytest.mark.parametrize(("argv", "text"), [pytest.param(a, t, id=i) for i, a, t in BAD])
def test_bad_values_are_rejected_by_name(
    argv: list[str], text: str, plan: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    says(capsys, ["run", SMALL, "--root", str(tmp_path / "r"), *argv, *plan], 2, text)
    assert not (tmp_path / "r").exists()


def test_bad_configs_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    (["run", SMALL, "--workers", "x"], "--workers: found 'x'; accepted: a whole number."),
    (
        ["run", SMALL, "--sampler.solver", "rk4"],
        "sampler.solver: 'rk4' is not a solver; accepted: ddim(eta=NUMBER), ddpm, dpmpp-2m, ",
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
    (["dashboard", "--port", "x"], "--port: found 'x'; accepted: a whole number."),
    (
        ["sample", SMALL, "--samples", "100000000000"],
        "--samples: found 100000000000; accepted: 1 to 10,000,000",
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


def test_a_base_without_the_sites_is_rejected(
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


def test_the_short_form_of_a_grid(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("name: grid\nbase: digits\nsearch: grid\n")
    search = load_spec(path).search
    assert (search.method, search.weight, len(search.weights)) == ("grid", (0.5, 3.5), 61)
