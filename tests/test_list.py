"""`study list`: every family, its members as they are, and their files."""

import json
from pathlib import Path
from typing import Any

import pytest

from degradations import kinds, rules
from study.cli.main import call
from study.data import DATA
from study.sampling import grids, solvers

FAMILIES = [
    "degradations",
    "rules",
    "solvers",
    "grids",
    "extractors",
    "objectives",
    "data",
    "bases",
    "configs",
]


def listed(family: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert call(["list", family, "--format", "json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_member_has_a_line_and_a_file(
    family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = listed(family, capsys)
    assert len({entry["name"] for entry in found}) == len(found) >= 1
    for entry in found:
        assert set(entry) == {"name", "form", "about", "paper", "file", "view", "needs"}
        assert entry["about"].endswith(".") or family == "configs"
        assert "\n" not in entry["about"]
        assert Path(entry["file"]).is_file()
    assert call(["list", family]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0].split("(")[0] for line in lines] == [e["name"] for e in found]


def test_families_are_those_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    families = {"degradations": kinds(), "rules": rules(), "solvers": solvers()}
    families |= {"grids": grids(), "data": DATA}
    for family, known in families.items():
        assert [entry["name"] for entry in listed(family, capsys)] == list(known)
    bases = {entry["name"]: entry for entry in listed("bases", capsys)}
    assert {"digits", "digits-part", "edm2-img512-s-2147483-0.130"} <= set(bases)
    papers = {entry["name"]: entry["paper"] for entry in listed("degradations", capsys)}
    assert papers["dropout"] == "Karras et al. 2024"
    assert papers["quantize"] == ""


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["list", "degradation"], "no family 'degradation'. Did you mean degradations?"),
        (["list", "rules", "--format", "xml"], "accepted: text, json"),
        (["list"], "family"),
    ],
)
def test_anything_else_is_an_input_error(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(argv) == 2
    assert says in capsys.readouterr().err
