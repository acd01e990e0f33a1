"""Several guides of one main: a mixture of degradations as the guide."""

import json
from pathlib import Path

import pytest
import torch

from degradations import Draws, InputError, Mixture, Pair, parse
from study.cli.main import call
from study.records.task import Task
from study.search import check_over, distributions, parameters
from study.search.propose import _task
from study.specs import PairingSpec, SearchSpec
from tests.helpers import small_network
from tests.searches import begun
from tests.small_study import SMALL

X = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
LABEL = torch.arange(6) % 3
BOTH = "0.75*dropout(0.4)&0.25*noise(0.4)"


@pytest.mark.parametrize("weight", [0.0, 1.6, 3.0])
def test_each_guide_has_its_own_weight(weight: float) -> None:
    """D = D1 + Σᵢ (wᵢ − 1)·(D1 − D0ᵢ), of deterministic guides."""
    base = small_network()
    names = "weight-noise(0.2)", "sigma(0.3)"
    mixture = parse(f"0.75*{names[0]} & 0.25*{names[1]}")
    assert isinstance(mixture, Mixture)
    weights = mixture.weights(weight)
    assert weights == pytest.approx([1 + 0.75 * (weight - 1), 1 + 0.25 * (weight - 1)])
    d1 = base(X, 1.0, LABEL)
    expected = d1 + sum(
        (w - 1) * (d1 - parse(name)(base)(X, 1.0, LABEL))
        for w, name in zip(weights, names, strict=True)
    )
    found = Pair(base, "none", mixture).at(weight)(X, 1.0, LABEL, Draws(0))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_names_read_back() -> None:
    for text in (
        BOTH,
        "0.5*dropout(0.2)+noise(0.1)&0.5*prune(0.3)",
        "1.5*noise(0.4)&-0.5*prune(0.3)",
    ):
        assert str(parse(text)) == text
        assert parse(str(parse(text))) == parse(text)
    equal = parse("dropout(0.4) & noise(0.4) & prune(0.1)")
    assert isinstance(equal, Mixture)
    assert equal.all_shares == pytest.approx([1 / 3] * 3)
    assert parse(str(equal)) == parse(str(parse(str(equal))))


@pytest.mark.parametrize("coupling", ["independent", "shared"])
def test_guides_draw_apart_or_repeat_the_main(coupling: str) -> None:
    base = small_network()
    pair = Pair(base, "dropout(0.2)", "dropout(0.4) & noise(0.3)", coupling)  # type: ignore[arg-type]
    draws = Draws(3)
    alone = pair.main(X, 1.0, LABEL, draws)
    found = pair.at(1.0)(X, 1.0, LABEL, Draws(3))
    assert torch.equal(found, alone)
    again = Draws(3)
    pair.at(2.0)(X, 1.0, LABEL, again)
    assert torch.equal(again.normal("next", X), draws.normal("next", X))
    if coupling == "shared":  # dropout repeats the main's masks: a mixture of equals is the main
        same = Pair(base, "dropout(0.2)", "0.5*dropout(0.2)&0.5*dropout(0.2)+sigma(0)", "shared")
        d = same.at(3.0)(X, 1.0, LABEL, Draws(3))
        torch.testing.assert_close(d, alone, rtol=1e-4, atol=1e-4)
    else:
        twice = parse("0.5*noise(0.3)&0.5*noise(0.3)+sigma(0)")(base)
        once = parse("noise(0.3)")(base)
        assert not torch.allclose(twice(X, 1.0, LABEL, Draws(0)), once(X, 1.0, LABEL, Draws(0)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("noise(0.4)&noise(0.4)", "accepted: two or more different parts"),
        ("none & noise(0.4)", "without 'none'"),
        ("0.5*noise(0.4)&0.6*prune(0.1)", "found shares with the sum 1.1; accepted: none, or one"),
        ("0.5*noise(0.4)&prune(0.1)", "accepted: none, or one for each part"),
        ("half*noise(0.4)&0.5*prune(0.1)", "'half' in .* is not a number; accepted: shares"),
        ("noise(0.4) & nois(0.1)", "did you mean noise"),
        ("noise(0.4) &", "is not a degradation"),
    ],
)
def test_bad_mixtures_are_named(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse(text)


def test_shares_are_searched_with_the_weight() -> None:
    pairing = PairingSpec("none", BOTH)
    spec = SearchSpec(method="gp", over={"guide.mixture.shares.0": (0.0, 1.0)})
    check_over(spec, [pairing])
    assert "guide.mixture.shares.0" in distributions(spec, pairing)
    results = begun(spec, pairing=pairing)
    task = _task(results, pairing, {"weight": 2.0, "guide.mixture.shares.0": 0.4})
    assert task.guide == "0.4*dropout(0.4)&0.6*noise(0.4)"
    assert parameters(spec, pairing, task) == {"weight": 2.0, "guide.mixture.shares.0": 0.4}
    assert task.cost == 3 * task.samples * task.steps


def test_a_study_of_several_guides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairing = "[{main: noise(0.2), guide: 'noise(0.4) & dropout(0.4)', coupling: shared}]"
    argv = [*SMALL, "--pairings", pairing, "--search.trials", "4", "--root", str(tmp_path)]
    assert call(["run", *argv]) == 0
    capsys.readouterr()
    assert call(["table", "small", "--format", "json", "--root", str(tmp_path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["guide"] == "0.5*noise(0.4)&0.5*dropout(0.4)"
    assert row["weights"] == pytest.approx([(1 + row["weight"]) / 2] * 2)
    guided = Task.guided(PairingSpec(row["main"], row["guide"], "shared"), 2.0, 0, 180, 6)
    assert guided.name.startswith("noise(0.2) → 0.5*noise(0.4)&0.5*dropout(0.4), shared")
