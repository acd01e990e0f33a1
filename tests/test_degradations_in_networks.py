"""What degradations of branches, weights and maps do within a network."""

import math

import numpy as np
import pytest
import torch

from degradations import (
    BlockDropout,
    Composition,
    Draws,
    Dropout,
    FeatureNoise,
    Guided,
    InputBlur,
    InputNoise,
    Kind,
    LowRank,
    MapBlur,
    MapShuffle,
    NoAttention,
    Prune,
    Quantize,
    Turned,
    WeightDrop,
    WeightNoise,
)
from degradations.blur import blur
from degradations.rounding import rounded
from tests.helpers import small_network, small_transformer
from tests.plain_denoisers import Echo, Told, evaluate, randn, through, weight_after


class TestDropout:
    def test_keeps_the_mean_and_scales_the_variance(self) -> None:
        """At one site h·m/(1 − p) has mean h and variance h²·p/(1 − p)."""
        p, n = 0.3, 200_000
        out = through(Dropout(p), "dropout", torch.full((n,), 2.0)).double()
        variance = 4 * p / (1 - p)
        assert abs(float(out.mean()) - 2) < 4 * math.sqrt(variance / n)
        assert float(out.var()) == pytest.approx(variance, rel=0.02)
        assert sorted(set(out.tolist())) == pytest.approx([0, 2 / (1 - p)], rel=1e-6)

    def test_feature_noise_keeps_the_mean_and_scales_the_variance(self) -> None:
        """h·(1 + a·n) has mean h and variance h²a²."""
        a, n = 0.3, 200_000
        out = through(FeatureNoise(a), "dropout", torch.full((n,), 2.0)).double()
        assert abs(float(out.mean()) - 2) < 4 * 2 * a / math.sqrt(n)
        assert float(out.var()) == pytest.approx(4 * a**2, rel=4 * math.sqrt(2 / n))

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


def test_low_rank_keeps_the_largest_singular_values() -> None:
    """Of a matrix made of known ones; ‖W − W_k‖² is the sum of the squares of those set to 0."""
    u, v = torch.linalg.qr(randn(6, 4))[0], torch.linalg.qr(randn(10, 4))[0]
    values = torch.tensor([4.0, 3.0, 2.0, 1.0])
    weight = (u * values) @ v.T
    for kept in (3, 2, 0):  # of six singular values, two of which are 0
        out = weight_after(LowRank((6 - kept) / 6), weight)
        torch.testing.assert_close(out, (u[:, :kept] * values[:kept]) @ v[:, :kept].T)
        assert float((weight - out).norm() ** 2) == pytest.approx(
            float((values[kept:] ** 2).sum()), rel=1e-4
        )
    kernel = randn(6, 2, 3, 3)
    assert weight_after(LowRank(0.5), kernel).shape == kernel.shape
    assert int(torch.linalg.matrix_rank(weight_after(LowRank(0.5), kernel).flatten(1))) == 3


class TestDirectionsOfWeights:
    @staticmethod
    def shift(kind: Kind, weight: torch.Tensor) -> torch.Tensor:
        return (weight_after(kind, weight) - weight).flatten().double()

    def test_directions_have_the_cosine_of_their_angle(self) -> None:
        """cos θ, up to the chance cosine of two random directions of d numbers, about 1/√d."""
        weight, d = randn(300, 200), 60_000
        straight = self.shift(WeightNoise(0.1), weight)
        for angle in (0, 30, 60, 90, 180):
            turned = self.shift(WeightNoise(0.2, angle=angle), weight)
            cosine = float(straight @ turned / straight.norm() / turned.norm())
            assert cosine == pytest.approx(math.cos(math.radians(angle)), abs=4 / math.sqrt(d))
            length = float(turned.norm() / straight.norm())
            assert length == pytest.approx(2, rel=4 / math.sqrt(d))
        other = self.shift(WeightNoise(0.1, seed=1), weight)
        assert abs(float(straight @ other / straight.norm() / other.norm())) < 4 / math.sqrt(d)

    def test_dropped_weights_are_nested_for_one_seed_and_anew_for_another(self) -> None:
        weight, n = torch.ones(400, 250), 100_000
        few, many, other = (
            weight_after(kind, weight) == 0
            for kind in (WeightDrop(0.1), WeightDrop(0.3), WeightDrop(0.3, seed=1))
        )
        for share, found in ((0.1, few), (0.3, many), (0.3, other)):
            assert float(found.double().mean()) == pytest.approx(
                share, abs=4 * math.sqrt(share * (1 - share) / n)
            )
        assert bool((few <= many).all())
        both = float((few & other).double().mean())
        assert both == pytest.approx(0.03, abs=4 * math.sqrt(0.03 * 0.97 / n))
        assert bool((weight_after(WeightDrop(1.0), weight) == 0).all())
