"""The conformance suite of degradations: what holds of every kind, and what is rejected."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from degradations import (
    BlockDropout,
    Composition,
    Degradation,
    Denoiser,
    Draws,
    Dropout,
    Guided,
    Identity,
    InputError,
    InputNoise,
    Kind,
    LabelDrop,
    LabelSwap,
    LowRank,
    MapBlur,
    MapShuffle,
    NoAttention,
    Prune,
    Quantize,
    WeightDrop,
    WeightNoise,
    kinds,
    parse,
)
from study.models import ExactGaussian
from tests.degradation_kinds import KINDS, KINDS_OF_CROPS, KINDS_OF_IMAGES
from tests.helpers import small_network, small_transformer, small_unet
from tests.plain_denoisers import Base, Told, evaluate

CASES = [
    *(pytest.param(small_network, *row.values, id=f"{row.id}-mlp") for row in KINDS),
    *(
        pytest.param(small_transformer, *row.values, id=f"{row.id}-transformer")
        for row in KINDS + KINDS_OF_IMAGES
    ),
    *(pytest.param(small_unet, *row.values, id=f"{row.id}-unet") for row in KINDS_OF_CROPS),
]
OF_WEIGHTS = {WeightNoise, WeightDrop, LowRank, Prune, Quantize}


@pytest.mark.parametrize(("make", "kind", "strengths", "random"), CASES)
class TestEveryKind:
    def test_identity_strength_is_the_base_bit_for_bit(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        base = make()
        assert kind(kind.identity)(base) is base
        assert torch.equal(evaluate(kind(kind.identity)(base), Draws(0)), evaluate(base, None))

    def test_same_draws_same_output_and_next_draws_differ(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        degraded = kind(strengths[1])(make())
        draws = Draws(3)
        first, second = evaluate(degraded, draws), evaluate(degraded, draws)
        assert torch.equal(first, evaluate(kind(strengths[1])(make()), Draws(3)))
        for other in (second, evaluate(degraded, Draws(4)), evaluate(degraded, Draws(3, chunk=1))):
            assert torch.equal(first, other) != random

    def test_the_base_is_untouched_and_shared(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        base = make()
        before, state = evaluate(base, None), {k: v.clone() for k, v in base.state_dict().items()}
        training, rng = [m.training for m in base.modules()], torch.get_rng_state()
        degraded = kind(strengths[1])(base)
        assert not torch.equal(evaluate(degraded, Draws(0)), before)
        assert torch.equal(evaluate(base, None), before)
        assert all(torch.equal(v, base.state_dict()[k]) for k, v in state.items())
        assert [m.training for m in base.modules()] == training
        assert torch.equal(torch.get_rng_state(), rng)
        mine = {p.data_ptr() for p in base.parameters()}
        for parameter in degraded.parameters():
            assert (parameter.data_ptr() in mine) == (kind not in OF_WEIGHTS or parameter.ndim < 2)
        assert len(list(degraded.parameters())) == len(mine)

    def test_strength_orders_the_damage(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        base = make()
        clean = evaluate(base, None, 2048)
        damage = [
            float(((evaluate(kind(s)(base), Draws(0), 2048) - clean) ** 2).mean())
            for s in strengths
        ]
        assert damage == sorted(damage)
        assert damage[-1] > 1.5 * damage[0] > 0
        assert kind.rises == (strengths[0] < strengths[-1])

    def test_name_comes_back(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        for strength in (*strengths, kind.identity, strengths[0] + 1e-9 / 3):
            assert parse(str(kind(strength))) == kind(strength)
        assert str(kind(strengths[0])) == f"{kind.kind}({strengths[0]:g})"
        assert kinds()[kind.kind] is kind

    def test_needs_draws_where_it_is_random(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        degraded = kind(strengths[0])(make())
        if random:
            with pytest.raises(InputError, match=f"{kind.kind}.*draws"):
                evaluate(degraded, None)
        else:
            evaluate(degraded, None)

    def test_rejects_bad_strengths(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        beyond = math.nextafter(kind.most, math.inf) if kind.below == math.inf else kind.below
        for strength in {kind.least - 0.1, math.nan, -math.inf, math.inf, beyond} - {kind.identity}:
            with pytest.raises(
                InputError, match=rf"^{kind.kind}\(.*found.*at least {kind.least:g}"
            ):
                kind(strength)

    def test_composed_with_input_noise_in_either_order(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        """Each part acts: with the same draws, leaving either out gives something else."""
        base, noise, this = make(), InputNoise(0.2), kind(strengths[1])
        alone = [evaluate(part(base), Draws(0)) for part in (noise, this)]
        for both in (Composition((noise, this)), Composition((this, noise))):
            out = evaluate(both(base), Draws(0))
            assert torch.equal(out, evaluate(both.parts[1](both.parts[0](base)), Draws(0)))
            assert not any(torch.equal(out, part) for part in alone)
            assert parse(str(both)) == both


@pytest.mark.parametrize(
    ("degradation", "base", "says"),
    [
        (
            Dropout(0.2),
            ExactGaussian(0.5),
            r"dropout\(0.2\).*'dropout'.*ExactGaussian has no sites",
        ),
        (
            BlockDropout(0.2),
            ExactGaussian(0.5),
            r"block-dropout\(0.2\).*'block'.*ExactGaussian has no sites",
        ),
        (
            NoAttention(0.5),
            small_network(),
            r"no-attention\(0.5\).*'attention'.*EDM has block, dropout, label",
        ),
        (MapBlur(1), small_network(), r"map-blur\(1\).*'map'"),
        (MapShuffle(1), small_network(), r"map-shuffle\(1\).*'map'"),
        (
            LabelDrop(0.1),
            small_network(classes=0),
            r"label-drop\(0.1\).*'label'.*EDM has block, dropout\.",
        ),
        (LabelSwap(0.1), small_transformer(classes=0), r"label-swap\(0.1\).*'label'"),
        (
            WeightNoise(0.1),
            ExactGaussian(0.5),
            r"weight-noise\(0.1\).*weight matrices.*ExactGaussian has none",
        ),
        (Prune(0.1), ExactGaussian(0.5), r"prune\(0.1\).*ExactGaussian has none"),
        (Quantize(3), ExactGaussian(0.5), r"quantize\(3\).*ExactGaussian has none"),
        (parse("noise(0.1)+dropout(0.2)"), ExactGaussian(0.5), r"dropout\(0.2\).*'dropout'"),
    ],
)
def test_a_base_without_what_is_wanted_is_rejected_by_name(
    degradation: Degradation, base: Denoiser, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        degradation(base)


def test_every_kind_has_a_row() -> None:
    rows = {row.values[0] for row in KINDS + KINDS_OF_IMAGES + KINDS_OF_CROPS}
    assert {
        kind for kind in kinds().values() if kind.__module__.startswith("degradations.")
    } == rows
    assert list(kinds()) == sorted(kinds())


def test_none_is_the_base() -> None:
    base = small_network()
    assert Identity()(base) is base
    assert parse("none") == Identity()


def test_a_kind_is_a_class_away() -> None:
    """As docs/extending.md says: a subclass of Kind that gives its name and what it does."""

    @dataclass(frozen=True)
    class Gain(Kind):
        kind: ClassVar[str] = "gain"

        def degrade(self, base: Denoiser) -> Denoiser:
            return Guided(base, Told(), 1 + self.strength)

    assert parse("gain(0.5)+noise(0.1)") == Composition((Gain(0.5), InputNoise(0.1)))
