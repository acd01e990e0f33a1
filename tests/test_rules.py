"""The conformance of rules: names, the main at weight 1, what is evaluated where. A new rule is a
row of RULES."""

from dataclasses import replace

import pytest
import torch

from degradations import Draws, Dropout, Guided, InputError, Interval, Pair, parse_rule, rules
from degradations.guidance.rule import Part, Point
from study.records.task import Task, interval, rounded
from study.specs import PairingSpec
from tests.helpers import small_transformer
from tests.rule_formulas import RULES, Row, by_formula

X = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABEL = torch.arange(6) % 3
SIGMAS = (0.1, 10**-0.5, 1.0, 50.0)


def drawn(seed: int, sigma: float = 1.0) -> Draws:
    """Draws in the second step of a sampler that halves the noise level."""
    draws = Draws(seed)
    draws.trajectory.at(1, sigma, sigma / 2)
    return draws


def test_every_rule_has_a_row() -> None:
    assert {part.kind for row in RULES for part in parse_rule(row.name).parts} == set(rules())


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.name)
class TestRule:
    def test_its_name_reads_back(self, row: Row) -> None:
        rule = parse_rule(row.name)
        assert str(rule) == row.name
        assert parse_rule(f" {row.name} ".replace(",", " , ").replace("+", " + ")) == rule
        assert hash(parse_rule(row.name)) == hash(rule)

    @pytest.mark.parametrize("weight", [0.5, 2.0, 7.0])
    def test_it_combines_as_the_paper_says(self, row: Row, weight: float) -> None:
        generator = torch.Generator().manual_seed(1)
        d1, d0 = (torch.randn(X.shape, generator=generator) for _ in range(2))
        rule, draws = parse_rule(row.name), drawn(0, row.sigma)
        at = Point(X, torch.tensor(row.sigma), draws.trajectory, rule.begin())
        found = rule.combine(d1, d0, weight, at)
        assert found.dtype == d1.dtype
        expected = by_formula(row, d1, d0, weight, X)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)

    def test_weight_1_is_the_main_and_draws_as_at_other_weights(self, row: Row) -> None:
        pair = Pair(small_transformer(), Dropout(0.2), Dropout(0.4))
        for sigma in SIGMAS:
            draws = drawn(3, sigma)
            alone = pair.main(X, sigma, LABEL, draws)
            same = torch.equal(pair.at(1.0, row.name)(X, sigma, LABEL, drawn(3, sigma)), alone)
            assert same == parse_rule(row.name).main_at_one
            again = drawn(3, sigma)
            pair.at(2.0, row.name)(X, sigma, LABEL, again)
            assert torch.equal(again.normal("next", X), draws.normal("next", X))

    def test_what_it_does_not_use_is_not_evaluated(self, row: Row) -> None:
        """At every level and weight, as `uses_main` and `uses_guide` say."""
        rule, calls = parse_rule(row.name), list[str]()
        main, guide = small_transformer(), small_transformer()
        main.register_forward_hook(lambda *_: calls.append("main"))
        guide.register_forward_hook(lambda *_: calls.append("guide"))
        for weight in (0.0, 1.0, 2.0):
            for sigma in SIGMAS:
                calls.clear()
                Guided(main, guide, weight, rule=rule)(X, sigma, LABEL, drawn(0, sigma))
                guided = bool(rule.uses_guide(weight, torch.tensor(sigma)))
                assert ("guide" in calls) == guided
                assert ("main" in calls) == (rule.uses_main(weight) or not guided)

    def test_it_acts_for_each_sample_s_own_level(self, row: Row) -> None:
        if "first order" in parse_rule(row.name).needs:
            return  # the level is the sampler's
        guided = Pair(small_transformer(), Dropout(0.0), Dropout(0.4)).at(2.0, row.name)
        levels = torch.tensor([0.1, 0.3, 1.0, 4.0, 50.0, 1.0])
        together = guided(X, levels, LABEL, drawn(0))
        for sigma in (0.1, 1.0, 50.0):
            chosen = levels == sigma
            expected = guided(X, sigma, LABEL, drawn(0))[chosen]
            torch.testing.assert_close(together[chosen], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text", ["rescale(0.7)+interval(0.3, 5)", "clip(1)+apg+linear(10, 0.1)"])
def test_one_rule_has_one_name(text: str) -> None:
    rule = parse_rule(text)
    assert parse_rule(str(rule)) == rule
    assert str(rule) != text
    assert [part.order for part in rule.parts] == sorted(part.order for part in rule.parts)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("constnat", r"'constnat' is not a rule; did you mean constant\? accepted: apg"),
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
        ("constant+rescale(0.7)", r"'constant\+rescale\(0.7\)': leave out constant"),
        ("apg+cfg-zero", "found apg and cfg-zero; accepted: one way to combine"),
        ("rescale(0.7)+nonsense", r"'nonsense' in 'rescale\(0.7\)\+nonsense' is not a rule"),
        ("interval(0.3, 5)+cfg-pp", "not the main alone with cfg-pp"),
        ("linear(1, 1)", r"found 1, 1; accepted: two different noise levels above 0"),
        ("power(1, 2, 0)", "found exponent 0; accepted: above 0"),
        ("exponential(1, 2, 0)", "found rate 0; accepted: −50 to 50, not 0"),
        ("bands(1, 2)", "accepted: noise levels that rise, and a share between any two"),
        ("bands(1, 2, 1)", "accepted: noise levels that rise"),
        ("bands(1, inf, 2)", "accepted: finite shares"),
        ("bands", r"write bands\(SIGMA, SHARE, SIGMA, …\), with numbers"),
        ("apg(momentum=1)", "found momentum 1; accepted: −1 to 1, open"),
        ("apg(norm=-1)", "found norm -1; accepted: at least 0"),
        ("apg(2)", r"write apg\(eta=NUMBER, norm=NUMBER, momentum=NUMBER\)"),
        ("cfg-zero(steps=-1)", "found steps -1; accepted: at least 0"),
        ("cfg-zero(steps=1.5)", r"write cfg-zero\(steps=NUMBER\)"),
        ("mambo-g(-1)", "found alpha -1"),
        ("fdg(1)", "accepted: two or more finite shares"),
        ("rescale(1.5)", "found phi 1.5; accepted: 0 to 1"),
        ("clip(0)", "found limit 0; accepted: above 0"),
        ("dynamic(0)", "found percentile 0; accepted: above 0, at most 100"),
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
        assert parse_rule(interval(low, high)).parts == (Interval(low, high),)
    assert rounded(interval(0.1 + 0.2, 1e2 / 3)) == "interval(0.3, 33.3)"


def test_only_the_constant_weight_0_leaves_the_main_out() -> None:
    assert not parse_rule("constant").uses_main(0.0)
    assert parse_rule("interval(0.3, 5)").uses_main(0.0)
    assert all(issubclass(part, Part) for part in rules().values())
