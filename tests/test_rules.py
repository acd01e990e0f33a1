"""The conformance of rules: names, the main at weight 1, what is evaluated where. A new rule is a
row of RULES."""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from degradations import Draws, Dropout, Guided, InputError, Interval, Pair, Rule, parse_rule, rules
from degradations.guidance.rule import Point
from study.records.task import Task, interval, rounded
from study.specs import PairingSpec
from tests.helpers import small_network


class Row(NamedTuple):
    """A rule's name, and its D at σ = 1 of d1, d0 and w, by the paper's formula."""

    name: str
    formula: str


RULES = [Row("constant", "w * d1 + (1 - w) * d0"), Row("interval(0.3, 5)", "w * d1 + (1 - w) * d0")]
X = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
LABEL = torch.arange(6) % 3


def test_every_rule_has_a_row() -> None:
    assert {parse_rule(row.name).kind for row in RULES} == set(rules())


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.name)
class TestRule:
    def test_its_name_reads_back(self, row: Row) -> None:
        rule = parse_rule(row.name)
        assert str(rule) == row.name
        assert parse_rule(f" {row.name} ".replace(",", " , ")) == rule
        assert hash(parse_rule(row.name)) == hash(rule)

    @pytest.mark.parametrize("weight", [0.5, 2.0])
    def test_it_combines_as_the_paper_says(self, row: Row, weight: float) -> None:
        generator = torch.Generator().manual_seed(1)
        d1, d0 = (torch.randn(6, 16, generator=generator) for _ in range(2))
        found = parse_rule(row.name).combine(d1, d0, weight, Point(X, torch.tensor(1.0)))
        expected: Tensor = eval(row.formula, {"w": weight, "d1": d1, "d0": d0, "torch": torch})
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)

    def test_weight_1_is_the_main_and_draws_as_at_other_weights(self, row: Row) -> None:
        pair = Pair(small_network(), Dropout(0.2), Dropout(0.4))
        for sigma in (0.1, 1.0, 50.0):
            draws = Draws(3)
            alone = pair.main(X, sigma, LABEL, draws)
            assert torch.equal(pair.at(1.0, row.name)(X, sigma, LABEL, Draws(3)), alone)
            again = Draws(3)
            pair.at(2.0, row.name)(X, sigma, LABEL, again)
            assert torch.equal(again.normal("next", X), draws.normal("next", X))

    def test_what_it_does_not_use_is_not_evaluated(self, row: Row) -> None:
        """At every level and weight, as `uses_main` and `uses_guide` say."""
        rule, calls = parse_rule(row.name), list[str]()
        main, guide = small_network(), small_network()
        main.register_forward_hook(lambda *_: calls.append("main"))
        guide.register_forward_hook(lambda *_: calls.append("guide"))
        for weight in (0.0, 1.0, 2.0):
            for sigma in (0.1, 1.0, 50.0):
                calls.clear()
                Guided(main, guide, weight, rule=rule)(X, sigma, LABEL, Draws(0))
                guided = bool(rule.uses_guide(weight, torch.tensor(sigma)))
                assert ("guide" in calls) == guided
                assert ("main" in calls) == (rule.uses_main(weight) or not guided)

    def test_it_acts_for_each_sample_s_own_level(self, row: Row) -> None:
        guided = Pair(small_network(), Dropout(0.0), Dropout(0.4)).at(2.0, row.name)
        levels = torch.tensor([0.1, 0.3, 1.0, 4.0, 50.0, 1.0])
        together = guided(X, levels, LABEL, Draws(0))
        for sigma in (0.1, 1.0, 50.0):
            chosen = levels == sigma
            expected = guided(X, sigma, LABEL, Draws(0))[chosen]
            torch.testing.assert_close(together[chosen], expected)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("constnat", r"'constnat' is not a rule; did you mean constant\? accepted: constant, "),
        ("interval", r"write interval\(LOW, HIGH\), with numbers in the brackets"),
        ("interval(1)", r"write interval\(LOW, HIGH\)"),
        ("interval(1, 2, 3)", r"write interval\(LOW, HIGH\)"),
        ("interval(a, b)", r"write interval\(LOW, HIGH\)"),
        ("interval(2, 0.5)", r"interval\(2, 0.5\): found 2, 0.5; accepted: 0 ≤ low ≤ high"),
        ("interval(-1, 2)", "accepted: 0 ≤ low ≤ high"),
        ("interval(1, inf)", "accepted: 0 ≤ low ≤ high"),
        ("interval(nan, 1)", "accepted: 0 ≤ low ≤ high"),
        ("constant()", r"write constant"),
        ("", "is not a rule"),
    ],
)
def test_bad_names_are_rejected(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_rule(name)


def test_a_task_carries_its_rule_through_json_and_into_names() -> None:
    pairing = PairingSpec("noise(0.1)", "noise(0.2)", rule="interval(0.3, 5)")
    task = Task.guided(pairing, 2.0, 0, 10, 4)
    assert Task.of(task.as_dict()) == task
    assert pairing.name == "noise(0.1) → noise(0.2), independent, interval(0.3, 5)"
    assert task.name.endswith("w 2, interval(0.3, 5)")
    plain = Task.guided(replace(pairing, rule="constant"), 2.0, 0, 10, 4)
    assert plain != task
    assert "constant" not in plain.name
    assert Task.guided(pairing, 1.0, 0, 10, 4) == Task.single("noise(0.1)", 0, 10, 4)


def test_tasks_kept_before_rules_had_names_are_read() -> None:
    pairing = PairingSpec("noise(0.1)", "noise(0.2)")
    kept = Task.guided(pairing, 2.0, 0, 10, 4).as_dict()
    del kept["rule"]
    assert Task.of({**kept, "interval": None}) == Task.guided(pairing, 2.0, 0, 10, 4)
    old = Task.of({**kept, "interval": [0.25, 30.0]})
    assert old == Task.guided(replace(pairing, rule="interval(0.25, 30)"), 2.0, 0, 10, 4)


def test_ends_of_any_size_have_names_that_read_back() -> None:
    for low, high in [(0.1 + 0.2, 1e2 / 3), (5e-324, 1e308), (0.0, 1e-9)]:
        assert parse_rule(interval(low, high)) == Interval(low, high)
    assert rounded(interval(0.1 + 0.2, 1e2 / 3)) == "interval(0.3, 33.3)"


def test_a_rule_is_more_than_its_formula_where_it_wants() -> None:
    assert isinstance(parse_rule("constant"), Rule)
    assert not parse_rule("constant").uses_main(0.0)
    assert parse_rule("interval(0.3, 5)").uses_main(0.0)
