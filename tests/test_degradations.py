"""The conformance suite of degradations, to which a new kind adds a row; then what each kind says
of itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from degradations import (
    BlockDropout,
    Composition,
    Degradation,
    Denoiser,
    Draws,
    Dropout,
    Guided,
    Identity,
    InputBlur,
    InputError,
    InputNoise,
    InputQuantize,
    Kind,
    LabelDrop,
    LabelSite,
    LabelSwap,
    MapBlur,
    MapShuffle,
    NoAttention,
    Prune,
    Quantize,
    SigmaError,
    Site,
    Turned,
    WeightNoise,
    kinds,
    parse,
)
from degradations.blur import blur
from degradations.rounding import rounded
from study.models import EDM, ExactGaussian
from tests.helpers import small_network, small_transformer

# the kind, three strengths in the order of rising damage, and whether it draws random numbers
KINDS = [
    pytest.param(Dropout, (0.05, 0.2, 0.5), True, id="dropout"),
    pytest.param(BlockDropout, (0.05, 0.2, 0.5), True, id="block-dropout"),
    pytest.param(WeightNoise, (0.05, 0.1, 0.4), False, id="weight-noise"),
    pytest.param(Prune, (0.1, 0.3, 0.8), False, id="prune"),
    pytest.param(Quantize, (6, 4, 2.5), False, id="quantize"),
    pytest.param(InputNoise, (0.1, 0.2, 1.0), True, id="noise"),
    pytest.param(InputBlur, (0.3, 0.6, 2.0), False, id="input-blur"),
    pytest.param(InputQuantize, (6, 4, 2.5), False, id="input-quantize"),
    pytest.param(LabelDrop, (0.1, 0.4, 1.0), True, id="label-drop"),
    pytest.param(LabelSwap, (0.1, 0.4, 1.0), True, id="label-swap"),
    pytest.param(SigmaError, (0.1, 0.3, 1.0), False, id="sigma"),
    pytest.param(Turned, (0.5, 1.0, 2.0), False, id="turned"),
]
KINDS_OF_IMAGES = [  # the same, for kinds that the MLP has no sites for
    pytest.param(NoAttention, (0.1, 0.4, 1.0), False, id="no-attention"),
    pytest.param(MapBlur, (0.3, 0.6, 2.0), False, id="map-blur"),
    pytest.param(MapShuffle, (0.1, 0.4, 1.0), True, id="map-shuffle"),
]
CASES = [
    *(pytest.param(small_network, *row.values, id=f"{row.id}-mlp") for row in KINDS),
    *(
        pytest.param(small_transformer, *row.values, id=f"{row.id}-transformer")
        for row in KINDS + KINDS_OF_IMAGES
    ),
]
OF_WEIGHTS = {WeightNoise, Prune, Quantize}
Base = Callable[[], EDM]


def evaluate(denoiser: Denoiser, draws: Draws | None, n: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 4, 4, generator=generator)
    return denoiser(x, 0.7, torch.arange(n) % 3, draws)


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
        assert damage[-1] > 2 * damage[0] > 0
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

    def test_refuses_bad_strengths(
        self, make: Base, kind: type[Kind], strengths: tuple, random: bool
    ) -> None:
        beyond = math.nextafter(kind.most, math.inf) if kind.below == math.inf else kind.below
        for strength in {kind.least - 0.1, math.nan, -math.inf, math.inf, beyond} - {kind.identity}:
            with pytest.raises(
                InputError, match=rf"^{kind.kind}\(.*at least {kind.least:g}.*found"
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


class Echo(Denoiser):
    """D(x; σ, c) = x"""

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return x


class Told(Denoiser):
    """D(x; σ, c) = σ"""

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return torch.zeros_like(x) + torch.as_tensor(sigma).reshape(-1, *[1] * (x.ndim - 1))


class Through(Denoiser):
    """What comes out of one site: x, or the label, passed through it."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return self.site(x if condition.label is None else condition.label, draws)


class Linear(Denoiser):
    """D(x; σ, c) = W x"""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, x, sigma, condition=None, draws=None):  # type: ignore[no-untyped-def]
        return x @ self.weight.T


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weight_after(degradation: Degradation, weight: Tensor) -> Tensor:
    degraded = degradation(Linear(weight))
    assert isinstance(degraded, Linear)
    return degraded.weight


def through(degradation: Degradation, role: str, h: Tensor, seed: int = 0) -> Tensor:
    return degradation(Through(Site(role)))(h, 1.0, None, Draws(seed))


def labels_after(degradation: Degradation, classes: int, label: Tensor, seed: int = 0) -> Tensor:
    return degradation(Through(LabelSite(classes)))(
        torch.zeros(len(label)), 1.0, label, Draws(seed)
    )


class TestDropout:
    def test_keeps_the_mean_and_scales_the_variance(self) -> None:
        """At one site h·m/(1 − p) has mean h and variance h²·p/(1 − p)."""
        p, n = 0.3, 200_000
        out = through(Dropout(p), "dropout", torch.full((n,), 2.0)).double()
        variance = 4 * p / (1 - p)
        assert abs(float(out.mean()) - 2) < 4 * math.sqrt(variance / n)
        assert float(out.var()) == pytest.approx(variance, rel=0.02)
        assert sorted(set(out.tolist())) == pytest.approx([0, 2 / (1 - p)], rel=1e-6)

    @pytest.mark.parametrize(("kind", "role"), [(Dropout, "dropout"), (BlockDropout, "block")])
    def test_masks_of_common_draws_are_nested(self, kind: type[Kind], role: str) -> None:
        ones = torch.ones(10_000, 1)
        weak, strong = (through(kind(p), role, ones, seed=5) > 0 for p in (0.2, 0.4))
        assert bool((strong <= weak).all())
        assert int(strong.sum()) < int(weak.sum())

    def test_block_dropout_takes_whole_branches_and_keeps_the_mean(self) -> None:
        p, n = 0.3, 100_000
        h = torch.full((n, 2, 3), 2.0)
        out = through(BlockDropout(p), "block", h)
        assert torch.equal(out, out[:, :1, :1].expand_as(out))
        variance = 4 * p / (1 - p)
        assert abs(float(out[:, 0, 0].double().mean()) - 2) < 4 * math.sqrt(variance / n)
        assert sorted(set(out.double().flatten().tolist())) == pytest.approx(
            [0, 2 / (1 - p)], rel=1e-6
        )

    def test_without_any_branch_a_network_sees_neither_noise_level_nor_label(self) -> None:
        base = small_network()
        degraded = BlockDropout(1 - 1e-9)(base).network  # type: ignore[union-attr]
        x = randn(8, 16)
        label = torch.arange(8) % 3
        out = degraded(x, torch.tensor([0.0]), label, Draws(0))
        assert torch.equal(out, degraded(x, torch.tensor([1.0]), None, Draws(0)))
        assert not torch.allclose(base.network(x, torch.tensor([0.0]), label, None), out)  # type: ignore[operator]


class TestWeights:
    def test_noise_is_one_direction_for_all_strengths(self) -> None:
        weight = 3 * randn(40, 50)
        weak, strong = (weight_after(WeightNoise(a), weight) - weight for a in (0.1, 0.4))
        torch.testing.assert_close(strong, 4 * weak, rtol=1e-3, atol=1e-5)
        assert float(weak.std()) == pytest.approx(0.1 * float(weight.std()), rel=0.05)
        other = weight_after(WeightNoise(0.1, seed=1), weight) - weight
        assert (
            abs(float(torch.corrcoef(torch.stack((weak.flatten(), other.flatten())))[0, 1])) < 0.1
        )

    def test_noise_of_equal_matrices_differs_by_name(self) -> None:
        base = small_network()
        one, two = base.network.blocks  # type: ignore[union-attr, misc]
        two.enter.weight.data.copy_(one.enter.weight)
        noisy = WeightNoise(0.1)(base)
        first, second = (block.enter.weight for block in noisy.network.blocks)  # type: ignore[union-attr]
        assert not torch.allclose(first, second, atol=1e-3)

    @pytest.mark.parametrize("weights", [WeightNoise(0.1), Prune(0.3), Quantize(3)])
    def test_wrapping_does_not_change_what_happens_to_the_weights(self, weights: Kind) -> None:
        base = small_network()
        for other in (InputNoise(0.2), Turned(1)):
            before, after = Composition((weights, other))(base), Composition((other, weights))(base)
            assert torch.equal(evaluate(before, Draws(0)), evaluate(after, Draws(0)))
        guided = weights(Guided(base, Dropout(0.3)(base), 2.0))
        parts = Guided(weights(base), Dropout(0.3)(weights(base)), 2.0)
        assert torch.equal(evaluate(guided, Draws(0)), evaluate(parts, Draws(0)))

    def test_only_matrices_change(self) -> None:
        base = small_transformer()
        for degradation in (WeightNoise(0.1), Prune(0.5), Quantize(3)):
            changed = dict(degradation(base).named_parameters())
            for name, parameter in base.named_parameters():
                assert torch.equal(parameter, changed[name]) == (parameter.ndim < 2), name

    @pytest.mark.parametrize("f", [0.1, 0.2906, 0.5, 0.999])
    def test_prune_takes_exactly_the_smallest(self, f: float) -> None:
        weight = randn(20, 50)
        pruned = weight_after(Prune(f), weight)
        gone = pruned == 0
        assert int(gone.sum()) == round(f * 1000)
        assert float(weight[gone].abs().max()) <= float(weight[~gone].abs().min())
        assert torch.equal(pruned[~gone], weight[~gone])

    @pytest.mark.parametrize("bits", [2, 3, 4, 8])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_quantize_has_the_levels_of_its_bits(self, bits: int, sign: int) -> None:
        weight = sign * torch.linspace(-0.7, 1, 4001).double()[None]
        step = 2 / (2**bits - 1)
        out = weight_after(Quantize(bits), weight)
        levels = out.unique()
        assert len(levels) <= 2**bits - 1
        torch.testing.assert_close(levels.diff(), torch.full_like(levels[1:], step))
        assert float((out - weight).abs().max()) == pytest.approx(step / 2, rel=1e-3)
        assert bool(((out - weight).abs() <= weight.abs() + 1e-12).all())

    def test_quantize_to_real_bits_lies_between(self) -> None:
        weight = randn(100, 100)
        outs = [weight_after(Quantize(bits), weight) for bits in (4.5, 4.25, 4, 3.75, 3.5)]
        errors = [float((out - weight).square().mean()) for out in outs]
        assert errors == sorted(errors)
        assert float(weight_after(Quantize(1), weight).abs().max()) == 0
        torch.testing.assert_close(weight_after(Quantize(24), weight), weight, rtol=1e-5, atol=1e-6)

    def test_zeros_stay_zero(self) -> None:
        assert torch.equal(rounded(torch.zeros(2, 3), torch.zeros(2, 1), 3), torch.zeros(2, 3))
        for degradation in (WeightNoise(0.1), Prune(0.5), Quantize(3)):
            assert torch.equal(weight_after(degradation, torch.zeros(3, 4)), torch.zeros(3, 4))


class TestMaps:
    def test_attention_is_mixed_with_the_identity(self) -> None:
        attention = randn(2, 3, 5, 5).softmax(dim=-1)
        out = through(NoAttention(0.3), "attention", attention)
        torch.testing.assert_close(out, 0.7 * attention + 0.3 * torch.eye(5))
        torch.testing.assert_close(out.sum(dim=-1), torch.ones(2, 3, 5))

    def test_without_attention_values_pass_straight(self) -> None:
        block = NoAttention(1)(small_transformer()).network.blocks[0].attention  # type: ignore[union-attr, index]
        h = randn(2, 6, 16)
        values = block.project(block.norm(h))[..., 32:]
        torch.testing.assert_close(block(h, None), h + block.leave(values))

    @pytest.mark.parametrize("std", [0.1, 0.5, 2.0, 1000.0])
    def test_blur_keeps_constants_and_means(self, std: float) -> None:
        torch.testing.assert_close(
            blur(torch.full((2, 3, 8, 5), 0.7), std), torch.full((2, 3, 8, 5), 0.7)
        )
        x = randn(2, 3, 8, 5)
        torch.testing.assert_close(blur(x, std).mean(dim=(2, 3)), x.mean(dim=(2, 3)))

    def test_blur_far_from_the_edge_is_a_convolution_with_a_gaussian(self) -> None:
        std, x = 1.7, torch.zeros(1, 1, 41, 51, dtype=torch.float64)
        x[0, 0, 20, 25], x[0, 0, 22, 21] = 1.0, -0.5
        gauss = np.exp(-0.5 * (np.arange(-15, 16) / std) ** 2)
        gauss /= gauss.sum()
        rows = np.apply_along_axis(np.convolve, 0, x[0, 0].numpy(), gauss, "same")
        expected = np.apply_along_axis(np.convolve, 1, rows, gauss, "same")
        np.testing.assert_allclose(blur(x, std)[0, 0].numpy(), expected, atol=1e-7)

    def test_blur_reflects_at_the_edges(self) -> None:
        """As the blur of an image four times as large, made of its mirror images."""
        x = randn(1, 1, 8, 8).double()
        wide = torch.cat((x, x.flip(3)), dim=3)
        whole = torch.cat((wide, wide.flip(2)), dim=2).tile(1, 1, 3, 3)
        torch.testing.assert_close(
            blur(whole, 1.3)[..., 16:24, 16:24], blur(x, 1.3), rtol=1e-6, atol=1e-6
        )

    def test_blurs_add_up_from_none_to_the_mean(self) -> None:
        x = randn(2, 1, 8, 6).double()
        torch.testing.assert_close(blur(blur(x, 0.6), 0.8), blur(x, 1.0))
        torch.testing.assert_close(blur(x, 1e-6), x)
        torch.testing.assert_close(blur(x, 1e6), x.mean(dim=(2, 3), keepdim=True).expand_as(x))

    def test_both_blurs_are_this_one(self) -> None:
        x = randn(3, 2, 8, 6)
        assert torch.equal(through(MapBlur(0.9), "map", x), blur(x, 0.9))
        assert torch.equal(InputBlur(0.9)(Echo())(x, 1.0), blur(x, 0.9))
        assert torch.equal(InputBlur(0.9)(Told())(x, 0.3), torch.full_like(x, 0.3))

    @pytest.mark.parametrize("f", [0.3, 1.0])
    def test_shuffle_moves_a_fraction_of_the_positions_with_all_their_features(
        self, f: float
    ) -> None:
        n, places = 2000, 12
        h = (
            torch.arange(places, dtype=torch.float32).reshape(3, 4)
            + torch.tensor([0, 100])[:, None, None]
        )
        out = through(MapShuffle(f), "map", h.expand(n, 2, 3, 4))
        assert torch.equal(out[:, 1], out[:, 0] + 100)
        assert torch.equal(
            out[:, 0].flatten(1).sort(dim=1).values, torch.arange(12.0).expand(n, -1)
        )
        moved = (out != h).any(dim=1).flatten(1)
        assert bool((moved.sum(dim=1) != 1).all())
        # A position moves where it takes part and is not the only one to.
        expected = f * (1 - (1 - f) ** (places - 1))
        assert float(moved.float().mean()) == pytest.approx(expected, abs=4 * math.sqrt(0.25 / n))
        assert len(out.unique(dim=0)) > 100

    def test_shuffled_positions_of_common_draws_are_nested_and_go_anywhere(self) -> None:
        h = torch.arange(16.0).reshape(1, 1, 4, 4).expand(4000, 1, 4, 4)
        weak, strong = ((through(MapShuffle(f), "map", h) != h) for f in (0.4, 0.7))
        assert bool((weak <= strong).all())
        goes = through(MapShuffle(1), "map", h)[:, 0, 0, 0].long().bincount(minlength=16)
        assert int(goes[0]) == 0
        assert bool(((goes[1:] - 4000 / 15).abs() < 5 * math.sqrt(4000 / 15)).all())


class TestInput:
    def test_noise_adds_what_it_says_and_tells_the_denoiser(self) -> None:
        x, sigma, a = torch.zeros(200_000, 1), 0.8, 0.2
        added = InputNoise(a)(Echo())(x, sigma, None, Draws(0))
        assert float(added.std()) == pytest.approx(math.sqrt(1.2**2 - 1) * sigma, rel=0.01)
        assert float(InputNoise(a)(Told())(x, sigma, None, Draws(0))[0]) == pytest.approx(0.96)
        per_sample = InputNoise(a)(Echo())(
            torch.zeros(3, 100_000), torch.tensor([0.1, 1.0, 10.0]), None, Draws(0)
        )
        assert per_sample.std(dim=1).tolist() == pytest.approx([0.06633, 0.6633, 6.633], rel=0.02)

    def test_sigma_is_told_too_high(self) -> None:
        x = randn(3, 5)
        assert torch.equal(SigmaError(0.5)(Echo())(x, 1.0), x)
        torch.testing.assert_close(SigmaError(0.5)(Told())(x, 0.8), torch.full_like(x, 1.2))
        told = SigmaError(0.5)(Told())(x, torch.tensor([1.0, 2.0, 4.0]))
        torch.testing.assert_close(told[:, 0], torch.tensor([1.5, 3.0, 6.0]))

    def test_quantize_goes_by_the_range_of_each_sample(self) -> None:
        x = randn(4, 1, 8, 8) * torch.tensor([0.01, 1.0, 50.0, 0.0])[:, None, None, None]
        out = InputQuantize(3)(Echo())(x, 1.0)
        step = 2 * x.abs().amax(dim=(1, 2, 3), keepdim=True) / 7
        assert bool(((out - x).abs() <= step / 2 * (1 + 1e-5)).all())
        for sample, delta in zip(out[:3], step[:3], strict=True):
            multiples = sample / delta
            torch.testing.assert_close(multiples, multiples.round())
            assert float(multiples.abs().max()) == pytest.approx(3)
        assert torch.equal(out[3], x[3])
        assert torch.equal(InputQuantize(3)(Told())(x, 0.3), torch.full_like(x, 0.3))

    def test_blur_is_for_images(self) -> None:
        with pytest.raises(
            InputError, match=r"input-blur acts on images \[B, C, H, W\].*\[32, 16\]"
        ):
            InputBlur(1)(ExactGaussian(0.5))(torch.zeros(32, 16), 1.0)


class TestLabels:
    @pytest.mark.parametrize("make", [small_network, small_transformer])
    def test_minus_one_is_no_label_bit_for_bit(self, make: Base) -> None:
        base, x = make(), randn(6, 1, 4, 4)
        none, label = base(x, 0.7), torch.tensor([0, -1, 1, -1, 2, -1])
        assert torch.equal(base(x, 0.7, torch.full((6,), -1)), none)
        mixed = base(x, 0.7, label)
        assert torch.equal(mixed[1::2], none[1::2])
        assert not any(torch.allclose(mixed[i], none[i], atol=1e-4) for i in (0, 2, 4))

    def test_drop_withholds_with_its_probability_and_nested(self) -> None:
        label = torch.arange(50_000) % 10
        weak, strong = (labels_after(LabelDrop(p), 10, label) for p in (0.2, 0.5))
        for out, p in ((weak, 0.2), (strong, 0.5)):
            gone = out == -1
            assert torch.equal(out[~gone], label[~gone])
            assert abs(float(gone.double().mean()) - p) < 4 * math.sqrt(p * (1 - p) / 50_000)
        assert bool((strong[weak == -1] == -1).all())
        base, x = small_network(), randn(8, 16)
        label = torch.arange(8) % 3
        assert torch.equal(LabelDrop(1)(base)(x, 0.7, label, Draws(0)), base(x, 0.7))

    def test_swap_draws_classes_uniformly_and_nested(self) -> None:
        n, p = 100_000, 0.4
        label = torch.zeros(n, dtype=torch.long)
        out, more = (labels_after(LabelSwap(q), 5, label) for q in (p, 0.8))
        for k, share in enumerate([1 - p + p / 5, *[p / 5] * 4]):
            found = float((out == k).double().mean())
            assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / n)
        assert bool((more[out > 0] == out[out > 0]).all())
        assert (
            labels_after(LabelSwap(1), 5, torch.full((1000,), 4)).bincount(minlength=5).min() > 100
        )

    def test_swap_leaves_a_sample_without_label_alone(self) -> None:
        label = torch.full((100,), -1)
        assert torch.equal(labels_after(LabelSwap(1), 5, label), label)
        both = labels_after(Composition((LabelDrop(0.5), LabelSwap(1))), 5, torch.arange(1000) % 5)
        assert 400 < int((both == -1).sum()) < 600

    def test_unlabelled_evaluations_stay_as_they_are(self) -> None:
        base, x = small_network(), randn(4, 16)
        for degradation in (LabelDrop(1), LabelSwap(1)):
            assert torch.equal(degradation(base)(x, 0.7, None, Draws(0)), base(x, 0.7))


class TestTurned:
    def error(self, degradation: Turned, features: int = 16) -> Tensor:
        base, x = small_network(features), randn(32, features)
        return degradation(base)(x, 0.7) - base(x, 0.7)

    def test_without_an_angle_it_is_the_error_of_a_higher_noise_level(self) -> None:
        base, x = small_network(), randn(32, 16)
        u = base(x, 1.2 * 0.7) - base(x, 0.7)
        torch.testing.assert_close(self.error(Turned(2)), 2 * u, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("angle", [0, 30, 90, 180, -45])
    def test_the_cosine_is_that_of_the_angle_and_the_length_is_chosen(self, angle: float) -> None:
        main, guide = self.error(Turned(1)), self.error(Turned(2, angle=angle))
        cosine = torch.cosine_similarity(main, guide, dim=1)
        torch.testing.assert_close(
            cosine, torch.full_like(cosine, math.cos(math.radians(angle))), rtol=1e-3, atol=1e-3
        )
        torch.testing.assert_close(guide.norm(dim=1), 2 * main.norm(dim=1), rtol=1e-3, atol=1e-5)

    def test_an_odd_last_coordinate_stays(self) -> None:
        for features, turned in ((5, [(-1, 1), (1, 0), (-1, 3), (1, 2), (1, 4)]), (1, [(1, 0)])):
            base, x = small_network(features), randn(32, features)
            u = base(x, 1.2 * 0.7) - base(x, 0.7)
            expected = torch.stack([sign * u[:, k] for sign, k in turned], dim=1)
            torch.testing.assert_close(
                self.error(Turned(1, angle=90), features), expected, rtol=1e-3, atol=1e-5
            )

    def test_both_evaluations_see_the_same_draws(self) -> None:
        base, draws, x = Dropout(0.4)(small_network()), Draws(0), randn(32, 16)
        for _ in range(2):
            here, higher = (base(x, sigma, None, draws.twin()) for sigma in (0.7, 1.2 * 0.7))
            out = Turned(1.5)(base)(x, 0.7, None, draws)
            torch.testing.assert_close(out, here + 1.5 * (higher - here), rtol=1e-4, atol=1e-5)


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
    def test_too_few_parts_are_refused(self, parts: tuple[Degradation, ...]) -> None:
        with pytest.raises(InputError, match="two parts or more"):
            Composition(parts)

    def test_a_part_at_identity_strength_changes_nothing(self) -> None:
        base = small_network()
        both = parse("dropout(0)+noise(0.2)")
        assert torch.equal(
            evaluate(both(base), Draws(0)), evaluate(InputNoise(0.2)(base), Draws(0))
        )


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
def test_a_base_without_what_is_wanted_is_refused_by_name(
    degradation: Degradation, base: Denoiser, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        degradation(base)


def test_every_kind_has_a_row() -> None:
    rows = {row.values[0] for row in KINDS + KINDS_OF_IMAGES}
    assert {
        kind for kind in kinds().values() if kind.__module__.startswith("degradations.")
    } == rows
    assert list(kinds()) == sorted(kinds())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Identity()),
        (" dropout ( 0.2 ) ", Dropout(0.2)),
        ("noise(1e+2)", InputNoise(100)),
        ("quantize(inf)", Quantize(math.inf)),
        ("weight-noise(0.1, seed=1)", WeightNoise(0.1, seed=1)),
        ("weight-noise(0.1,seed = 0)", WeightNoise(0.1)),
        ("turned(2, angle=-30.5)", Turned(2, -30.5)),
        (
            "noise(1e+2)+dropout(+0.2) + turned(1, angle=3e+1)",
            Composition((InputNoise(100), Dropout(0.2), Turned(1, 30))),
        ),
    ],
)
def test_names_are_read(text: str, expected: Degradation) -> None:
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("degradation", "name"),
    [
        (Dropout(0.2), "dropout(0.2)"),
        (InputNoise(4.0), "noise(4)"),
        (InputNoise(0.1 + 0.2), "noise(0.30000000000000004)"),
        (InputNoise(1e-7), "noise(1e-07)"),
        (InputNoise(-0.0), "noise(0)"),
        (InputNoise(np.float64(0.1)), "noise(0.1)"),
        (Quantize(math.inf), "quantize(inf)"),
        (WeightNoise(0.1, seed=0), "weight-noise(0.1)"),
        (WeightNoise(0.1, seed=12), "weight-noise(0.1, seed=12)"),
        (Turned(2, 30), "turned(2, angle=30)"),
        (Identity(), "none"),
    ],
)
def test_names_are_short_and_exact(degradation: Degradation, name: str) -> None:
    assert str(degradation) == name
    assert parse(name) == degradation


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "dropuot(0.1)",
            r"'dropuot\(0.1\)' is not a degradation \(none, .*did you mean dropout\? known are "
            r"block-dropout\(STRENGTH\)",
        ),
        ("dropout", r"write dropout\(STRENGTH\)"),
        ("dropout()", "number"),
        ("dropout(x)", "number"),
        ("none(1)", "write none"),
        ("dropout(1)", "at least 0 and below 1, found 1"),
        ("dropout(-1)", "at least 0"),
        ("dropout(inf)", "below 1, found inf"),
        ("noise(nan)", "found nan"),
        ("sigma(inf)", "at least 0 and finite, found inf"),
        ("label-drop(1.5)", "at least 0 and at most 1, found 1.5"),
        ("quantize(0.5)", "at least 1 and at most 32, or inf, found 0.5"),
        ("", "'' is not.*known are"),
        ("noise(0.1)(0.2)", "known are"),
        ("noise(0.1", "did you mean noise"),
        ("dropout(0.1, seed=1)", r"write dropout\(STRENGTH\), "),
        ("weight-noise(0.1, 1)", r"write weight-noise\(STRENGTH, seed=NUMBER\)"),
        ("weight-noise(0.1, seed=x)", r"write weight-noise\(STRENGTH, seed=NUMBER\)"),
        ("weight-noise(0.1, seed=1.5)", r"write weight-noise\(STRENGTH, seed=NUMBER\)"),
        ("weight-noise(0.1, seed=1, seed=2)", r"write weight-noise\(STRENGTH, seed=NUMBER\)"),
        ("weight-noise(seed=1)", r"write weight-noise\(STRENGTH, seed=NUMBER\)"),
        ("turned(1, angle=nan)", "angle must be a finite float, found nan"),
        ("turned(1, angle=inf)", "angle must be a finite float, found inf"),
        ("dropout(0.1)+", r"'' in 'dropout\(0.1\)\+' is not"),
        ("dropout(0.1)+niose(0.2)", r"'niose\(0.2\)' in 'dropout.*did you mean noise"),
        ("dropout(0.1)+noise", r"'noise' in .*write noise\(STRENGTH\)"),
        ("none+dropout(0.1)", "'none' is not one of them"),
    ],
)
def test_bad_names_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse(text)


@pytest.mark.parametrize(("option", "says"), [(1.5, "seed must be a finite int, found 1.5")])
def test_bad_options_are_refused(option: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        WeightNoise(0.1, seed=option)  # type: ignore[arg-type]


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
