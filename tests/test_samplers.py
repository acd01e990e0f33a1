"""`study samplers`: FD against NFE."""

import json
from pathlib import Path

import pytest

from study.cli.main import call
from tests.command_line import says

CONFIG = "tests/small.yaml"
QUICK = ["--extractors", "[digits]", "--search.samples", "120"]


def test_solvers_and_grids_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["samplers", CONFIG, *QUICK, "--solvers", "[heun, dpmpp-2m, ddim(eta=0.5)]"]
    argv += ["--grids", "[edm, log-snr]", "--nfe", "[6, 9]", "--root", str(tmp_path)]
    assert call([*argv, "--format", "json"]) == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)
    assert len(rows) == 3 * 2 * 2 * 2
    assert len(shown.err.splitlines()) >= 24
    promised = {"solver", "grid", "steps", "nfe", "metric", "fd"}
    assert all(promised <= row.keys() for row in rows)
    heun = [row for row in rows if row["solver"] == "heun" and row["weight"] == 1]
    assert [(row["steps"], row["nfe"]) for row in heun] == [(3, 5), (3, 5), (5, 9), (5, 9)]
    assert {row["grid"] for row in heun} == {"edm", "log-snr"}
    guided = [row for row in rows if row["weight"] == 2]
    assert {row["denoiser"] for row in guided} == {"noise(0.2) → noise(0.4), independent, w 2"}
    assert all(row["nfe_all"] == 2 * row["nfe"] for row in guided)
    assert all(row["fd_ci"][0] < row["fd"] < row["fd_ci"][1] for row in rows)
    folder = tmp_path / "reports" / "small"
    assert (folder / "samplers.png").stat().st_size > 10_000
    assert call(argv) == 0  # nothing is sampled again
    again = capsys.readouterr()
    assert "NFE 9:" not in again.err
    assert len(again.out.splitlines()) == 24 + 4
    assert again.out.rstrip("\n") == (folder / "samplers.md").read_text().rstrip("\n")


@pytest.mark.parametrize(
    ("more", "texts"),
    [
        (["--solvers", "[rk4]"], ("'rk4' is not a solver; accepted: ddim",)),
        (["--grids", "[square]"], ("'square' is not a grid; accepted: cosine, edm(rho=NUMBER)",)),
        (["--nfe", "[2]"], ("--nfe: found 2; accepted with", "at least 3, of its 2 steps")),
        (
            ["--solvers", "[dpmpp-2m]", "--nfe", "[2]"],
            ("accepted with dpmpp-2m: at least 3, of its 3 steps",),
        ),
        (["--weight", ".inf"], ("--weight: found inf; accepted: a finite number",)),
        (
            ["--pairings", "[{main: none, guide: label-drop(1), rule: cfg-pp}]"],
            ("rule cfg-pp: found the solver heun",),
        ),
        (["--format", "xml"], ("--format: found xml",)),
    ],
)
def test_what_cannot_be_compared_is_named(
    more: list[str], texts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    argv = ["samplers", CONFIG, *QUICK, "--solvers", "[heun]", *more, "--root", str(root)]
    says(capsys, argv, 2, *texts)
    assert not list(root.rglob("samplers.*"))


def test_fewer_steps_than_a_solver_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run", CONFIG, "--sampler.solver", "dpmpp-2m", "--sampler.steps", "2"]
    says(capsys, [*argv, "--root", str(tmp_path)], 2, "sampler.steps: found 2", "at least 3 with")
