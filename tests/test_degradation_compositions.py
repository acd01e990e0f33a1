"""Compositions of degradations: their order, draws and parts."""

import pytest
import torch

from degradations import (
    Composition,
    Degradation,
    Draws,
    Dropout,
    Identity,
    InputError,
    InputNoise,
    InputQuantize,
    LabelSite,
    Prune,
    parse,
)
from degradations.blur import blur
from tests.helpers import small_network, small_transformer
from tests.plain_denoisers import Echo, evaluate, randn, through


class TestComposition:
    def test_goes_from_the_left(self) -> None:
        """Of b(a(D)) the input passes b first."""
        x = randn(2, 1, 8, 8)
        both = parse("input-quantize(2)+input-blur(1)")(Echo())(x, 1.0)
        assert torch.equal(both, InputQuantize(2)(Echo())(blur(x, 1), 1.0))
        assert not torch.allclose(both, blur(InputQuantize(2)(Echo())(x, 1.0), 1))

    def test_two_of_a_kind_both_act_with_draws_of_their_own(self) -> None:
        ones = torch.ones(100_000)
        twice = through(parse("dropout(0.2)+dropout(0.5)"), "dropout", ones)
        assert sorted(set(twice.tolist())) == pytest.approx([0, 1 / (0.8 * 0.5)])
        assert abs(float((twice > 0).double().mean()) - 0.4) < 0.01
        base = small_network()
        one, two = (
            evaluate(parse(name)(base), Draws(0))
            for name in ("dropout(0.2)", "dropout(0.2)+dropout(0.2)")
        )
        assert not torch.equal(one, two)

    def test_a_site_with_a_further_action_is_another_site(self) -> None:
        site = LabelSite(3)
        once = site.then(lambda h, draws: h + 1)
        twice = once.then(lambda h, draws: 10 * h)
        assert [int(s(torch.tensor(1))) for s in (site, once, twice)] == [1, 2, 20]
        assert (twice.role, twice.classes) == ("label", 3)

    def test_degrading_further_leaves_the_degraded_as_it_was(self) -> None:
        once = Dropout(0.2)(small_network())
        before = evaluate(once, Draws(0))
        Dropout(0.5)(once)
        assert torch.equal(evaluate(once, Draws(0)), before)

    def test_sites_of_different_roles_and_weights_together(self) -> None:
        names = ["dropout(0.2)", "block-dropout(0.1)", "label-drop(0.3)", "weight-noise(0.1)"]
        names += ["noise(0.1)", "prune(0.2)", "map-blur(0.5)"]
        text, base = "+".join(names), small_transformer()
        whole = evaluate(parse(text)(base), Draws(0))
        for left_out in names:
            rest = parse("+".join(name for name in names if name != left_out))
            assert not torch.equal(evaluate(rest(base), Draws(0)), whole), left_out

    def test_nested_ones_are_flat(self) -> None:
        a, b, c = Dropout(0.1), InputNoise(0.2), Prune(0.3)
        assert (
            Composition((a, Composition((b, c))))
            == Composition((Composition((a, b)), c))
            == Composition((a, b, c))
        )
        assert str(Composition((a, b, c))) == "dropout(0.1)+noise(0.2)+prune(0.3)"

    @pytest.mark.parametrize("parts", [(), (Dropout(0.1),), (Dropout(0.1), Identity())])
    def test_too_few_parts_are_rejected(self, parts: tuple[Degradation, ...]) -> None:
        with pytest.raises(InputError, match="two or more parts"):
            Composition(parts)

    def test_a_part_at_identity_strength_changes_nothing(self) -> None:
        base = small_network()
        both = parse("dropout(0)+noise(0.2)")
        assert torch.equal(
            evaluate(both(base), Draws(0)), evaluate(InputNoise(0.2)(base), Draws(0))
        )


def test_evaluations_of_parts_multiply() -> None:
    assert parse("windows(0.5)+noise(0.1)").networks == 4
    assert parse("noise(0.1)+dropout(0.2)").networks == 1
