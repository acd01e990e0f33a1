"""The conformance suite of degradations: a new kind adds a row."""

import math

import pytest
import torch

from degradations import Degradation, Denoiser, Draws, Dropout, Identity, InputNoise, Refused, parse
from study.models import ExactGaussian
from tests.helpers import small_network

Kind = type[Degradation]
KINDS = [  # the kind, three rising strengths, and whether it draws random numbers
    pytest.param(Dropout, (0.05, 0.2, 0.5), True, id="dropout"),
    pytest.param(InputNoise, (0.1, 0.2, 1.0), True, id="noise"),
]


def evaluate(denoiser: Denoiser, draws: Draws | None, n: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 4, 4, generator=generator)
    return denoiser(x, 0.7, torch.arange(n) % 3, draws)


@pytest.mark.parametrize(("kind", "strengths", "random"), KINDS)
class TestEveryKind:
    def test_identity_strength_is_the_base_bit_for_bit(self, kind: Kind, strengths: tuple, random: bool) -> None:
        base = small_network()
        assert torch.equal(evaluate(kind(0.0)(base), Draws(0)), evaluate(base, None))

    def test_same_draws_same_output_and_next_draws_differ(self, kind: Kind, strengths: tuple, random: bool) -> None:
        degraded = kind(strengths[1])(small_network())
        draws = Draws(3)
        first, second = evaluate(degraded, draws), evaluate(degraded, draws)
        assert torch.equal(first, evaluate(degraded, Draws(3)))
        for other in (second, evaluate(degraded, Draws(4)), evaluate(degraded, Draws(3, chunk=1))):
            assert torch.equal(first, other) != random

    def test_the_base_is_untouched_and_shared(self, kind: Kind, strengths: tuple, random: bool) -> None:
        base = small_network()
        before, state = evaluate(base, None), {k: v.clone() for k, v in base.state_dict().items()}
        training, rng = [m.training for m in base.modules()], torch.get_rng_state()
        degraded = kind(strengths[1])(base)
        evaluate(degraded, Draws(0))
        assert torch.equal(evaluate(base, None), before)
        assert all(torch.equal(v, base.state_dict()[k]) for k, v in state.items())
        assert [m.training for m in base.modules()] == training
        assert torch.equal(torch.get_rng_state(), rng)
        mine = {p.data_ptr() for p in base.parameters()}
        assert {p.data_ptr() for p in degraded.parameters()} == mine

    def test_strength_orders_the_damage(self, kind: Kind, strengths: tuple, random: bool) -> None:
        base = small_network()
        clean = evaluate(base, None, 2048)
        damage = [float(((evaluate(kind(s)(base), Draws(0), 2048) - clean) ** 2).mean()) for s in strengths]
        assert damage == sorted(damage)
        assert damage[-1] > 2 * damage[0]

    def test_name_comes_back(self, kind: Kind, strengths: tuple, random: bool) -> None:
        for strength in strengths:
            assert parse(str(kind(strength))) == kind(strength)
        assert str(kind(strengths[0])) == f"{kind.kind}({strengths[0]:g})"

    def test_needs_draws_where_it_is_random(self, kind: Kind, strengths: tuple, random: bool) -> None:
        degraded = kind(strengths[0])(small_network())
        if random:
            with pytest.raises(Refused, match="draws"):
                evaluate(degraded, None)
        else:
            evaluate(degraded, None)

    @pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf])
    def test_refuses_bad_strengths(self, kind: Kind, strengths: tuple, random: bool, strength: float) -> None:
        with pytest.raises(Refused, match=kind.kind):
            kind(strength)


def test_dropout_keeps_the_mean_and_scales_the_variance() -> None:
    """At one site h·m/(1 − p) has mean h and variance h²·p/(1 − p)."""
    from degradations.dropout import _Masked

    p, n = 0.3, 200_000
    out = _Masked(p)(torch.full((n,), 2.0), Draws(0)).double()
    variance = 4 * p / (1 - p)
    assert abs(float(out.mean()) - 2) < 4 * math.sqrt(variance / n)
    assert float(out.var()) == pytest.approx(variance, rel=0.02)
    assert sorted(set(out.tolist())) == pytest.approx([0, 2 / (1 - p)], rel=1e-6)


def test_masks_of_common_draws_are_nested() -> None:
    from degradations.dropout import _Masked

    ones = torch.ones(10_000)
    weak, strong = _Masked(0.2)(ones, Draws(5)) > 0, _Masked(0.4)(ones, Draws(5)) > 0
    assert bool((strong <= weak).all())
    assert int(strong.sum()) < int(weak.sum())


def test_input_noise_adds_what_it_says_and_tells_the_denoiser() -> None:
    """With D(x; σ) = x the output shows the added noise; with D(x; σ) = σ it shows what was told."""

    class Echo(Denoiser):
        def forward(self, x, sigma, label=None, draws=None):  # type: ignore[no-untyped-def]
            return x

    class Told(Denoiser):
        def forward(self, x, sigma, label=None, draws=None):  # type: ignore[no-untyped-def]
            return torch.zeros_like(x) + sigma

    x, sigma, a = torch.zeros(200_000, 1), 0.8, 0.2
    added = InputNoise(a)(Echo())(x, sigma, None, Draws(0))
    assert float(added.std()) == pytest.approx(math.sqrt(1.2**2 - 1) * sigma, rel=0.01)
    assert float(InputNoise(a)(Told())(x, sigma, None, Draws(0))[0]) == pytest.approx(0.96)
    per_sample = InputNoise(a)(Echo())(torch.zeros(3, 100_000), torch.tensor([0.1, 1.0, 10.0]), None, Draws(0))
    assert per_sample.std(dim=1).tolist() == pytest.approx([0.06633, 0.6633, 6.633], rel=0.02)


def test_a_base_without_the_site_is_refused_by_name() -> None:
    with pytest.raises(Refused, match=r"dropout\(0.2\).*'dropout'.*ExactGaussian has no sites"):
        Dropout(0.2)(ExactGaussian(0.5))


@pytest.mark.parametrize(
    ("text", "says"),
    [("dropuot(0.1)", "known are"), ("dropout", "STRENGTH"), ("dropout(x)", "number"), ("none(1)", "write none"),
     ("dropout(1)", "below 1"), ("dropout(-1)", "at least 0"), ("", "known are"), ("noise(0.1)(0.2)", "known are")],
)  # fmt: skip
def test_bad_names_are_refused(text: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        parse(text)


def test_none_is_the_base() -> None:
    base = small_network()
    assert Identity()(base) is base
    assert parse("none") == Identity()
