"""Moments, and the Fréchet, kernel and nearest distances, against definitions and clean-fid."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from degradations import InputError, RunError
from study.metrics import (
    FrechetReference,
    Pixels,
    Tally,
    kernel_distance,
    nearest,
    nearest_other,
    references,
    scores,
)
from tests.feature_sets import RNG, features, moments


def test_moments_are_numpy_s() -> None:
    f = features(300, 7)
    found = moments(f)
    np.testing.assert_allclose(found.mean, f.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(f, rowvar=False), rtol=1e-10)


def test_moments_merge() -> None:
    f = features(300, 7)
    whole, parts = moments(f), moments(f[:100]) + moments(f[100:101]) + moments(f[101:])
    assert parts.n == 300
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-12)


def test_moments_reject_what_is_not_finite() -> None:
    with pytest.raises(RunError, match="2 of 3"):
        moments(np.array([[1.0, 2.0], [np.nan, 0.0], [np.inf, 0.0]]))
    with pytest.raises(RunError, match="at least 2"):
        _ = moments(np.ones((1, 2))).covariance


def test_frechet_of_commuting_gaussians_is_the_closed_form() -> None:
    """|μ − μ'|² + Σ(√λ − √λ')² where the covariances share their axes."""
    axes = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    a, b = RNG.uniform(0.1, 3, 5), RNG.uniform(0.1, 3, 5)
    mu = RNG.normal(size=5)
    reference = FrechetReference(np.zeros(5), (axes * a) @ axes.T)
    expected = (mu**2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert reference.distance(mu, (axes * b) @ axes.T) == pytest.approx(expected, rel=1e-12)


def test_frechet_is_sqrtm_s_and_clean_fid_s() -> None:
    from cleanfid.fid import frechet_distance

    a, b = moments(features(500, 40, 1)), moments(features(400, 40, 2))
    ours = FrechetReference(b.mean, b.covariance).distance(a.mean, a.covariance)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    theirs = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert ours == pytest.approx(
        frechet_distance(a.mean, a.covariance, b.mean, b.covariance), rel=1e-9
    )


def test_frechet_of_singular_covariances() -> None:
    """Fewer samples than dimensions: rounding's negative eigenvalues must not show."""
    f = features(20, 50)
    found = moments(f)
    distance = FrechetReference(found.mean, found.covariance).distance(found.mean, found.covariance)
    assert abs(distance) < 1e-5 * np.trace(found.covariance)
    with pytest.raises(InputError, match="dimensions"):
        FrechetReference(np.zeros(3), np.eye(3)).distance(np.zeros(2), np.eye(2))


def test_frechet_distance_has_two_parts() -> None:
    a, b = moments(features(300, 6, 1)), moments(features(300, 6, 2))
    reference = FrechetReference(b.mean, b.covariance)
    mean, covariance = reference.parts(a.mean, a.covariance)
    assert mean == pytest.approx(((a.mean - b.mean) ** 2).sum(), rel=1e-12)
    assert covariance == pytest.approx(reference.distance(b.mean, a.covariance), rel=1e-12)
    assert reference.distance(a.mean, a.covariance) == mean + covariance


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e6])
@pytest.mark.parametrize("rank", [1, 3, 40])
def test_frechet_distance_is_never_negative(scale: float, rank: int) -> None:
    """Of singular and of vanishing covariances, equal or not, where rounding's root would show."""
    f = features(rank + 1, 40, rank) * scale
    a, b = moments(f), moments(np.concatenate([f, f]))
    for one in (a, b):
        reference = FrechetReference(one.mean, one.covariance)
        for other in (a, b):
            distance = reference.distance(other.mean, other.covariance)
            assert 0 <= distance < 0.5 * np.trace(one.covariance) + 1e-300


def test_kernel_distance_is_the_definition_and_clean_fid_s() -> None:
    from cleanfid.fid import kernel_distance as theirs

    x, y = features(60, 5, 1), features(50, 5, 2)
    kernel = lambda a, b: (a @ b / 5 + 1) ** 3  # noqa: E731
    xx = np.mean([kernel(x[i], x[j]) for i in range(60) for j in range(60) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(50) for j in range(50) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-10)
    # clean-fid takes subsets of min(n, m, 1000): with equal numbers one subset is all samples, in
    # another order
    assert kernel_distance(x[:50], y) == pytest.approx(theirs(x[:50], y, num_subsets=1), rel=1e-9)


def test_kernel_distance_of_subsets_agrees_with_clean_fid_within_its_spread() -> None:
    from cleanfid.fid import kernel_distance as theirs

    x, y = features(400, 5, 1), features(400, 5, 2)
    np.random.seed(0)  # clean-fid draws from the global state
    other = np.array([theirs(x, y, num_subsets=20, max_subset_size=100) for _ in range(10)])
    ours = kernel_distance(x, y, subsets=200, subset_size=100)
    assert abs(ours - other.mean()) < 4 * other.std(ddof=1) * math.sqrt(1 / 10 + 1 / 10)


def test_kernel_distance_is_unbiased_of_independent_samples_and_by_how_much_not_of_others() -> None:
    """Two classes at a point each, 0 and 2 in one dimension: k is 1, but for 125 between two
    samples at 2."""
    same, everything = (1 + 125) / 2, (1 + 1 + 1 + 125) / 4
    rng = np.random.default_rng(0)
    independent = [
        kernel_distance(*(2.0 * rng.integers(0, 2, (n, 1)) for n in (10, 16))) for _ in range(2000)
    ]
    assert abs(np.mean(independent)) < 4 * np.std(independent) / math.sqrt(2000)
    exact = {n: np.repeat([0.0, 2.0], n // 2)[:, None] for n in (10, 16)}
    lowered = {n: (same - everything) / (n - 1) for n in exact}
    assert kernel_distance(exact[10], exact[16]) == pytest.approx(-lowered[10] - lowered[16])
    one = [kernel_distance(exact[10], 2.0 * rng.integers(0, 2, (16, 1))) for _ in range(2000)]
    assert abs(np.mean(one) + lowered[10]) < 4 * np.std(one) / math.sqrt(2000)


def test_kernel_distance_to_what_is_repeated() -> None:
    """Samples that are the reference's own, drawn at random."""
    y = features(12, 5, 1)
    k = (y @ y.T / 5 + 1) ** 3
    lowered = (np.trace(k) - (k.sum() - np.trace(k)) / 11) / 12 / 12
    rng = np.random.default_rng(0)
    found = [kernel_distance(y[rng.integers(0, 12, 20)], y) for _ in range(2000)]
    assert abs(np.mean(found) + lowered) < 4 * np.std(found) / math.sqrt(2000)


def test_kernel_distance_rejects_bad_sets() -> None:
    with pytest.raises(InputError, match="same d"):
        kernel_distance(np.ones((3, 2)), np.ones((3, 4)))


def test_nearest() -> None:
    data = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    torch.testing.assert_close(
        nearest(torch.tensor([[0.0, 0.2], [3.0, 0.0]]), data), torch.tensor([0.2, 3.0])
    )
    torch.testing.assert_close(
        nearest_other(data, block=2), torch.tensor([1.0, math.sqrt(18), 1.0])
    )


def test_saturation_is_the_share_beyond_the_range() -> None:
    """Of images in [−1, 1], beyond a level of 8 bits; not of points or of other ranges."""
    x = torch.zeros(50, 1, 4, 4)
    x[:, :, 0] = 1.0 + 1 / 255  # half a level, which rounding takes back
    x[:, :, 1, :2] = -1.5
    data = torch.rand(80, 1, 4, 4) * 2 - 1
    for target, shape, expected in (
        (data, x.shape, 2 / 16),
        (data.flatten(1), (50, 16), None),
        (127.5 * (data + 1), x.shape, None),
    ):
        tally = Tally([Pixels()])
        tally.fold(x.reshape(shape), 0)
        found = scores(tally, references(target, [Pixels()]))
        assert found.get("saturation_pixels") == expected
