"""Floors of the Fréchet distance, and FD without the bias of few samples."""

import math

import numpy as np
import pytest
import torch

from degradations import InputError
from study.metrics import FrechetReference, Moments, training_share
from study.metrics.floors import memoriser_floor, perfect_floor
from study.records.confirmation import Sets

RNG = np.random.default_rng(0)


class TestPerfect:
    def test_of_one_feature_it_is_known(self) -> None:
        """E(x̄ − μ)² + E(s − σ)² = σ²(1/n + 1/2n), to order 1/n²."""
        reference = FrechetReference(np.array([3.0]), np.array([[4.0]]))
        expected = 4 * 1.5 / 500
        # its variance is that of two squares: σ⁴(2/n² + 2/4n²)
        error = 4 * math.sqrt(2.5) / 500 / math.sqrt(4096)
        assert perfect_floor(reference, 500) == pytest.approx(expected, abs=4 * error)

    @pytest.mark.parametrize("n", [20, 2000], ids=["fewer than features", "many"])
    def test_it_is_that_of_drawn_features(self, n: int) -> None:
        root = np.triu(RNG.standard_normal((32, 32)))
        reference = FrechetReference(RNG.standard_normal(32), root.T @ root)
        found = []
        for _ in range(40):
            drawn = reference.mean + RNG.standard_normal((n, 32)) @ root
            found.append(reference.distance(drawn.mean(0), np.cov(drawn, rowvar=False)))
        error = np.std(found) * math.sqrt(1 / 40 + 1 / 128)
        assert perfect_floor(reference, n) == pytest.approx(np.mean(found), abs=4 * error)

    def test_one_sample_has_no_covariance(self) -> None:
        with pytest.raises(InputError, match="floor: found 1 samples; accepted: at least 2"):
            perfect_floor(FrechetReference(np.zeros(2), np.eye(2)), 1)


def of_data(features: torch.Tensor) -> FrechetReference:
    moments = Moments.zeros(features.shape[1])
    moments.fold(features)
    return FrechetReference(moments.mean, moments.covariance)


class TestMemoriser:
    def test_what_the_class_alone_decides_is_returned_exactly(self) -> None:
        """With features that the label determines, data in exact shares are the data."""
        labels = torch.tensor([0] * 30 + [1] * 10 + [2] * 20)
        features = torch.eye(3)[labels]
        assert memoriser_floor(of_data(features), features, labels, 60) < 1e-12
        assert memoriser_floor(of_data(features), features, None, 60) > 1e-4

    def test_it_is_that_of_drawing_with_replacement(self) -> None:
        features = torch.from_numpy(RNG.standard_normal((300, 2)))
        reference, found = of_data(features), []
        for _ in range(400):
            drawn = features[torch.from_numpy(RNG.integers(300, size=300))].numpy()
            found.append(reference.distance(drawn.mean(0), np.cov(drawn, rowvar=False)))
        error = np.std(found) * math.sqrt(1 / 400 + 1 / 2048)
        floor = memoriser_floor(reference, features, None, 300)
        assert floor == pytest.approx(np.mean(found), abs=4 * error)


class TestLimit:
    def test_it_removes_a_bias_of_the_form_b_over_n(self) -> None:
        """FD(n) = 2 + 50/n, of 100 samples and of 90."""
        found = Sets.of([2.5, 2.5], [[2 + 50 / 90] * 10] * 2).limit
        assert found == pytest.approx(2.0)

    def test_of_a_perfect_model_it_is_zero(self) -> None:
        """Of samples of the reference's own Gaussian the mean of FD∞ over seed sets is 0."""
        reference, values, replicates = FrechetReference(np.zeros(8), np.eye(8)), [], []
        for _ in range(200):
            groups = [Moments.zeros(8) for _ in range(10)]
            for group in groups:
                group.fold(torch.from_numpy(RNG.standard_normal((50, 8))))
            whole = sum(groups, Moments.zeros(8))
            without = [whole + Moments(-g.total, -g.product, -g.n) for g in groups]
            values.append(reference.distance(whole.mean, whole.covariance))
            replicates.append([reference.distance(m.mean, m.covariance) for m in without])
        sets = Sets.of(values, replicates)
        limits = [
            Sets(sets.values[i : i + 1], sets.replicates[i : i + 1]).limit for i in range(200)
        ]
        error = np.std(limits) / math.sqrt(200)  # type: ignore[arg-type]
        assert sets.limit == pytest.approx(0, abs=4 * error + 0.02 * sets.mean)
        assert sets.mean > 50 * error

    def test_without_replicates_it_is_not_known(self) -> None:
        assert Sets.of([1.0, 2.0]).limit is None


class TestNearest:
    """Of 1437 training data and 360 held out, 0.8 is the share of a model that knows neither."""

    @staticmethod
    def draw(generator: torch.Generator, *numbers: int, d: int = 8) -> list[torch.Tensor]:
        return [torch.randn(n, d, generator=generator) for n in numbers]

    def test_the_interval_covers_the_share_of_a_model_that_memorised_nothing(self) -> None:
        generator, hits, n = torch.Generator().manual_seed(0), 0, 200
        for _ in range(n):
            _, low, high = training_share(*self.draw(generator, 300, 1437, 360))
            hits += low <= 1437 / 1797 <= high
        assert hits / n > 0.95 - 4 * math.sqrt(0.95 * 0.05 / n)

    def test_a_memoriser_is_seen_by_how_many_samples_there_are(self) -> None:
        generator = torch.Generator().manual_seed(0)
        training, held_out = self.draw(generator, 1437, 360)
        share, low, high = training_share(training[:300], training, held_out)
        assert (share, high) == (1.0, pytest.approx(1.0))
        assert 0.97 < low < 1
        assert training_share(training[:10], training, held_out)[1] < 0.8

    def test_samples_with_one_nearest_datum_count_as_one(self) -> None:
        """A hundred copies of one sample say no more than it alone."""
        training, held_out = torch.eye(4), -torch.eye(4)
        alone = training_share(training[:1], training, held_out)
        assert training_share(training[:1].repeat(100, 1), training, held_out) == pytest.approx(
            alone
        )
