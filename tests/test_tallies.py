"""Tallies of samples in groups: their scores, replicates, and curves over the number of samples."""

import math

import numpy as np
import pytest
import torch

from degradations import InputError
from study.metrics import (
    FrechetReference,
    Pixels,
    Reference,
    Tally,
    load_extractor,
    references,
    replicates,
    scores,
    size_curves,
    strata,
)
from study.records.statistics import extrapolate
from tests.feature_sets import DIVIDED, LABELS, RNG, Sign, divided, moments


def test_tallies_merge() -> None:
    extractor, x = load_extractor("pixels"), torch.randn(100, 6)
    whole, a, b = Tally([extractor]), Tally([extractor]), Tally([extractor])
    whole.fold(x, 0)
    b.fold(x[60:], 60)
    a.fold(x[:60], 0)
    merged = b + a  # in any order
    np.testing.assert_array_equal(merged.features("pixels"), whole.features("pixels"))
    np.testing.assert_allclose(
        merged.moments["pixels"].covariance, whole.moments["pixels"].covariance, rtol=1e-10
    )


@pytest.mark.parametrize("n", [2, 7, 20, 1797])
@pytest.mark.parametrize("classes", [0, 3, 10])
def test_groups_are_of_a_size_and_of_a_mixture(n: int, classes: int) -> None:
    # some labels are rare
    labels = torch.from_numpy(RNG.integers(classes, size=n) ** 2 % 7) if classes else None
    groups = strata(n, labels)
    count = int(groups.max()) + 1
    assert count == min(10, n // 2)
    for part in (
        [groups]
        if labels is None
        else [groups, *(groups[labels == label] for label in labels.unique())]
    ):
        sizes = torch.bincount(part, minlength=count)
        assert int(sizes.max() - sizes.min()) <= 1


def test_groups_want_a_label_a_sample() -> None:
    with pytest.raises(InputError, match="found 3 labels; accepted: as many"):
        strata(4, torch.zeros(3))


def test_groups_depend_neither_on_chunks_nor_on_their_order() -> None:
    whole, merged = (
        divided((0, 103)),
        divided((40, 41), (90, 103)) + (divided((41, 90)) + divided((0, 40))),
    )
    groups = strata(103, LABELS)
    for group, (one, other) in enumerate(
        zip(whole.parts["pixels"], merged.parts["pixels"], strict=True)
    ):
        assert one.n == other.n == int((groups == group).sum())
        np.testing.assert_allclose(one.total, DIVIDED[groups == group].sum(0), rtol=1e-5)
        np.testing.assert_allclose(one.product, other.product, rtol=1e-10)
    undivided = moments(DIVIDED.numpy())
    np.testing.assert_allclose(whole.moments["pixels"].covariance, undivided.covariance, rtol=1e-10)
    # tallies of other groups are of another stream
    with pytest.raises(ValueError, match="shorter"):
        _ = whole + Tally([Sign()], parts={"pixels": [undivided]})


def test_accuracy_is_the_share_of_what_was_asked_for() -> None:
    found, tally = (
        references(DIVIDED, [Sign()]),
        divided((0, 50)) + (divided((50, 103)) + divided()),
    )
    right = ((DIVIDED[:, 0] > 0).long() == LABELS).double().mean()
    assert scores(tally, found)["accuracy_pixels"] == pytest.approx(float(right), abs=1e-12)
    unlabelled = Tally([Sign()])
    unlabelled.fold(DIVIDED, 0)
    assert "accuracy_pixels" not in scores(unlabelled, found)


def test_accuracy_of_digits_is_the_classifier_s() -> None:
    from study.data import load_data

    data, extractor = load_data("digits"), load_extractor("digits").eval()
    assert data.labels is not None
    tally = Tally([extractor])
    tally.fold(data.samples, 0, (data.labels + (torch.arange(1797) < 600)) % 10)  # 600 wrong labels
    with torch.inference_mode():
        right = (extractor.network(data.samples).argmax(1) == data.labels)[600:].sum()
    found = scores(tally, references(data.samples, [extractor]))["accuracy_digits"]
    assert abs(found - int(right) / 1797) <= 6 / 1797  # some of the 600 look like the wrong label


def test_replicates_are_the_distances_without_a_group() -> None:
    found, groups = references(torch.randn(300, 6), [Sign()]), strata(103, LABELS)
    values = replicates(divided((0, 50), (50, 103)), found)["fd_pixels"]
    for group, value in enumerate(values):
        rest = moments(DIVIDED[groups != group].double().numpy())
        assert value == pytest.approx(
            found["pixels"].frechet.distance(rest.mean, rest.covariance), rel=1e-6
        )
    assert len(values) == 10
    undivided = Tally([Sign()])
    undivided.fold(DIVIDED, 0)
    assert replicates(undivided, found) == size_curves(undivided, found) == {}


def test_size_curves_are_of_the_whole_of_halves_and_of_thirds() -> None:
    found, groups = references(torch.randn(300, 6), [Sign()]), strata(103, LABELS)
    whole, *left = size_curves(divided((0, 103)), found)["fd_pixels"]

    def point(chosen: list[int]) -> tuple[float, float]:
        some = moments(DIVIDED[torch.isin(groups, torch.tensor(chosen))].double().numpy())
        return some.n, found["pixels"].frechet.distance(some.mean, some.covariance)

    assert len(left) == 10
    for curve, kept in [(whole, [*range(10)]), (left[4], [0, 1, 2, 3, 5, 6, 7, 8, 9])]:
        count = len(kept)
        runs = [
            [[kept[(i + j) % count] for j in range(size)] for i in range(count)]
            for size in (-(-count // 3), 5)
        ]
        expected = [np.mean([point(run) for run in of_a_size], axis=0) for of_a_size in runs] + [
            np.array(point(kept))
        ]
        np.testing.assert_allclose(curve, expected, rtol=1e-6)


def test_the_extrapolated_distance_has_no_bias() -> None:
    """N(0, I) against its own moments: FD is d/n + d(d + 1)/4n on average (to second order), and 0
    in the limit."""
    d, n, times = 12, 1000, 60
    found = {
        "pixels": Reference("pixels", "pixels", 1, FrechetReference(np.zeros(d), np.eye(d)), None)
    }
    raw, limits, covered = [], [], 0
    for seed in range(times):
        tally = Tally([Pixels()], strata(n))
        tally.fold(
            torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), 0
        )
        raw.append(scores(tally, found)["fd_pixels"])
        whole, *left = size_curves(tally, found)["fd_pixels"]
        limit = extrapolate(whole, left)
        limits.append(limit.mean)
        covered += limit.low < 0 < limit.high
    bias, error = (d + d * (d + 1) / 4) / n, np.std(limits) / math.sqrt(times)
    assert np.mean(raw) == pytest.approx(bias, rel=0.03)
    assert abs(np.mean(limits)) < min(3 * error, 0.1 * bias)
    assert covered >= 0.95 * times


def test_scoring_hands_on_groups_and_labels() -> None:
    from degradations import Dropout
    from study.lightning.sample import Job, PairSampler, collect, score
    from study.sampling import Fixed, PerSample, edm_sigmas
    from tests.helpers import small_network

    labels, sampler = (
        LABELS[:70],
        PairSampler(small_network(), Dropout(0.2), sigmas=edm_sigmas(3, 0.01, 10).tolist()),
    )
    source = Fixed((70, 16), 20, labels)
    x = collect(sampler, Job(source, 0, 1.0))
    groups = strata(70, labels)
    tally = score(sampler, Job(source, 0, 1.0), Tally([Sign()], groups))
    assert tally.correct["pixels"] == int(((x[:, 0] > 0).long() == labels).sum())
    assert tally.labelled["pixels"] == 70
    for group, part in enumerate(tally.parts["pixels"]):
        np.testing.assert_allclose(part.total, x[groups == group].sum(0), rtol=1e-4, atol=1e-4)
    drawn = score(sampler, Job(PerSample((70, 16), 20, 2), 0), Tally([Sign()], strata(70, None)))
    assert drawn.labelled["pixels"] == 70
    assert [part.n for part in drawn.parts["pixels"]] == [7] * 10
    assert len(score(sampler, Job(source, 0, 1.0), Tally([Sign()])).parts["pixels"]) == 1
