"""What degradations of inputs, noise levels and labels do, and errors that are turned."""

import math

import pytest
import torch
from torch import Tensor

from degradations import (
    Composition,
    Draws,
    Dropout,
    InputBlur,
    InputError,
    InputNoise,
    InputQuantize,
    LabelDrop,
    LabelSwap,
    SigmaError,
    Turned,
)
from study.models import ExactGaussian
from tests.helpers import small_network, small_transformer
from tests.plain_denoisers import Base, Echo, Told, labels_after, randn


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
            InputError,
            match=r"input-blur: found samples of shape \[32, 16\]; accepted: \[B, C, H, W\]",
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
