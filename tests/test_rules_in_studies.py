"""Rules of a study's pairings: what is refused by name, and that they reach the table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from degradations import InputError, parse_rule
from study.checkpoints import load_base
from study.cli.main import call
from study.engine.check import require_rule
from study.records.results import Results
from study.records.task import Evaluation, Outcome
from study.report.rows import _nfe
from study.results import read
from study.search import spent
from study.specs import PairingSpec, SamplerSpec, StudySpec
from tests.command_line import says
from tests.small_study import SMALL

PAIRING = "[{{main: noise(0.2), guide: noise(0.4), rule: '{}'}}]"
HEUN = SamplerSpec(steps=6, sigma_max=40)


@pytest.mark.parametrize(
    ("rule", "more", "texts"),
    [
        (
            "cfg-pp",
            ["--search.weight", "[0, 0.95]", "--search.design", "[0.5]"],
            ("rule cfg-pp: found the solver heun", "once a step, such as euler"),
        ),
        (
            "cfg-pp",
            ["--sampler.solver", "euler"],
            ("search.weight: found 0.5 to 3.5", "a range without 1, such as 0 to 0.95"),
        ),
        ("fdg(1, 1, 1, 1)", [], ("found samples of shape [1, 8, 8]", "at least 16×16 pixels")),
        (
            "bands(0.1, 1, 80)",
            [],
            ("bands(0.1, 1, 80): found noise levels from 0.002 to 40", "bands that cover"),
        ),
        ("apg(momentum=-2)", [], ("pairings[0].rule: apg(momentum=-2): found momentum -2",)),
        ("rescale(0.7)+nothing", [], ("pairings[0].rule: 'nothing' in", "is not a rule")),
    ],
)
def test_a_rule_that_means_nothing_is_refused_before_anything_is_sampled(
    rule: str,
    more: list[str],
    texts: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "root"
    argv = ["run", *SMALL, "--pairings", PAIRING.format(rule), *more, "--root", str(root)]
    says(capsys, argv, 2, *texts)
    assert not list(root.rglob("*.db"))


@pytest.mark.parametrize(
    ("rule", "says_"),
    [
        ("dynamic(99.5)", "found latents .*; accepted: images of pixels"),
        ("interval(0.3, 5)+clip(1)", "accepted: images of pixels"),
    ],
)
def test_thresholds_are_for_pixels(rule: str, says_: str) -> None:
    base = load_base("digits", "digits")
    require_rule(parse_rule(rule), HEUN, base)
    with pytest.raises(InputError, match=says_):
        require_rule(parse_rule(rule), HEUN, replace(base, latents=True))
    with pytest.raises(InputError, match="accepted: images of pixels"):
        require_rule(parse_rule(rule), HEUN, load_base("exact", "fractal"))


def test_frequencies_are_of_images() -> None:
    with pytest.raises(InputError, match=r"fdg\(1, 0\): found samples \[2\].*; accepted: images"):
        require_rule(parse_rule("fdg(1, 0)"), HEUN, load_base("exact", "fractal"))


def test_a_config_that_searches_numbers_is_sampled(tmp_path: Path) -> None:
    argv = ["sample", *SMALL, "--search.interval", "[0.1, 5]", "--samples", "4"]
    assert call([*argv, "--root", str(tmp_path)]) == 0


def test_weight_1_of_a_rule_that_is_not_the_main_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["sample", *SMALL, "--main", "noise(0.2)", "--guide", "noise(0.4)", "--rule", "cfg-pp"]
    argv += ["--sampler.solver", "euler", "--samples", "4", "--root", str(tmp_path)]
    says(capsys, [*argv, "--weight", "1"], 2, "--weight: found 1", "with the rule cfg-pp")
    assert call([*argv, "--weight", "0.6"]) == 0


@pytest.mark.parametrize(
    ("rule", "weight", "made", "of_main", "of_guide"),
    [
        ("constant", 2.0, 22, 11, 11),
        ("constant", 0.0, 11, 0, 11),
        ("interval(0.3, 5)", 2.0, 15, 11, 4),
        ("cfg-zero(steps=2)", 2.0, 14, 7, 7),
    ],
)
def test_network_evaluations_are_those_that_were_made(
    rule: str, weight: float, made: int, of_main: int, of_guide: int
) -> None:
    pairing = PairingSpec("noise(0.2)", "noise(0.4)", rule=rule)
    spec = StudySpec("x", base="digits", pairings=(pairing,), sampler=HEUN)
    results = Results(spec, {pairing: []}, {})
    task = results.searched(pairing, weight)
    first = results.confirmed(task)[0]
    done = Evaluation(first, Outcome(network_evaluations=made * first.samples))
    assert _nfe(replace(results, shared={first: done}), task) == (of_main, of_guide)
    searched = Evaluation(task, Outcome(network_evaluations=made * task.samples))
    # beside main and guide alone, for the probe
    assert spent(replace(results, searches={pairing: [searched]}), pairing) == 22 + made


def test_pairings_that_differ_in_the_rule_are_two_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = "constant", "interval(0.3, 5)+apg(momentum=-0.5)+rescale(0.7)"
    pairings = ", ".join(f"{{main: noise(0.2), guide: noise(0.4), rule: '{r}'}}" for r in rules)
    argv = [*SMALL, "--extractors", "[digits]", "--pairings", f"[{pairings}]"]
    argv += ["--confirm.controls", "false", "--root", str(tmp_path)]
    assert call(["run", *argv]) == 0
    shown = capsys.readouterr().out
    assert "| rule" in shown
    assert call(["table", "small", "--format", "json", "--root", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert tuple(row["rule"] for row in rows) == rules
    assert len({row["tested_fd"] for row in rows}) == 2
    assert len({row["fd_main"] for row in rows}) == 1


def test_numbers_of_a_rule_are_searched_with_the_weight(tmp_path: Path) -> None:
    pairing = PAIRING.format("interval(0.3, 5)+rescale(0.7)")
    over = "{rule.interval.low: [0.05, 1], rule.rescale.phi: [0, 1]}"
    argv = [*SMALL, "--extractors", "[digits]", "--pairings", pairing, "--search.over", over]
    argv += ["--search.design", "[1.0, 1.5]", "--search.trials", "5", "--root", str(tmp_path)]
    assert call(["run", *argv]) == 0
    found = read("small", tmp_path)
    rules = [parse_rule(rule) for rule in found.trials.rule if rule != "constant"]
    assert len({str(rule) for rule in rules}) >= 3
    for rule in rules:
        interval, rescale = rule.parts
        assert (interval.kind, rescale.kind) == ("interval", "rescale")
        assert 0.05 <= interval.low <= 1  # type: ignore[attr-defined]
        assert 0 <= rescale.phi <= 1  # type: ignore[attr-defined]
    assert "rule.rescale.phi" in (tmp_path / "reports" / "small" / "config.yaml").read_text()
