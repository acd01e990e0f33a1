"""Overrides of a config's keys, and those that name none."""

from pathlib import Path

import pytest

from study.cli.config import load_spec
from tests.config_texts import PLAIN, rejection


def test_an_override_changes_its_key_alone(tmp_path: Path) -> None:
    """Although an alias has one group stand in two places, and a group is given over another."""
    path = tmp_path / "c.yaml"
    path.write_text(PLAIN + "confirm: &c {samples: 30}\nsearch: *c\nsampler: {chunk: 60}\n")
    spec = load_spec(
        path, ["--search.samples", "20", "--sampler", "{steps: 9}", "--matrix.coupling=independent"]
    )
    assert (spec.search.samples, spec.confirm.samples) == (20, 30)
    assert (spec.sampler.steps, spec.sampler.chunk) == (9, 60)
    assert spec.matrix is not None
    assert spec.matrix.coupling == "independent"
    assert load_spec(path, ["--base", "null"]).base is None
    assert load_spec(path, ["--search", "grid"]).search.method == "grid"
    assert load_spec(path, ["--sampler.steps", "010"]).sampler.steps == 10


OVERRIDES = [
    (["--sampler.solver", "rk4"], "sampler.solver: 'rk4' is not a solver; accepted: ddim(eta="),
    (["--sampler.step", "3"], "--sampler.step: no such option. Did you mean --sampler.steps?"),
    (
        ["--search.interval", "3"],
        "--search.interval: found '3'; accepted: a list of two numbers, or null.",
    ),
    (
        ["--pairings", "[{main: none, guide: none, couplng: shared}]"],
        "Did you mean --pairings[0].coupling?",
    ),
    (["--sampler.steps"], "--sampler.steps: no value"),
    (
        ["--matrix", "3"],
        "--matrix: found '3'; accepted: keys with values (coupling, clean, tested).",
    ),
]


@pytest.mark.parametrize(("overrides", "says"), OVERRIDES, ids=[o[0] for o, _ in OVERRIDES])
def test_an_override_that_is_none_is_named(overrides: list[str], says: str, tmp_path: Path) -> None:
    assert says in rejection(PLAIN, tmp_path, *overrides)
