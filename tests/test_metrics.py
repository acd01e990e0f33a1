import math

import numpy as np
import pytest
import scipy.linalg
import torch

from degradations import Failed, Refused
from study.metrics import (
    EXTRACTORS,
    FrechetReference,
    Moments,
    Reference,
    Tally,
    kernel_distance,
    load_extractor,
    nearest,
    nearest_other,
    references,
    scores,
)  # fmt: skip

RNG = np.random.default_rng(0)


def features(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / math.sqrt(d) + rng.normal(size=d)


def moments(f: np.ndarray) -> Moments:
    found = Moments.zeros(f.shape[1])
    found.fold(torch.from_numpy(f))
    return found


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


def test_moments_refuse_what_is_not_finite() -> None:
    with pytest.raises(Failed, match="2 of 3"):
        moments(np.array([[1.0, 2.0], [np.nan, 0.0], [np.inf, 0.0]]))
    with pytest.raises(Failed, match="at least 2"):
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
    assert ours == pytest.approx(frechet_distance(a.mean, a.covariance, b.mean, b.covariance), rel=1e-9)


def test_frechet_of_singular_covariances() -> None:
    """Fewer samples than dimensions: rounding's negative eigenvalues must not show."""
    f = features(20, 50)
    found = moments(f)
    distance = FrechetReference(found.mean, found.covariance).distance(found.mean, found.covariance)
    assert abs(distance) < 1e-5 * np.trace(found.covariance)
    with pytest.raises(Refused, match="dimensions"):
        FrechetReference(np.zeros(3), np.eye(3)).distance(np.zeros(2), np.eye(2))


def test_kernel_distance_is_the_definition_and_clean_fid_s() -> None:
    from cleanfid.fid import kernel_distance as theirs

    x, y = features(60, 5, 1), features(50, 5, 2)
    kernel = lambda a, b: (a @ b / 5 + 1) ** 3  # noqa: E731
    xx = np.mean([kernel(x[i], x[j]) for i in range(60) for j in range(60) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(50) for j in range(50) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-10)
    # clean-fid takes subsets of min(n, m, 1000): with equal numbers one subset is all samples, in another order
    assert kernel_distance(x[:50], y) == pytest.approx(theirs(x[:50], y, num_subsets=1), rel=1e-9)


def test_kernel_distance_of_subsets_agrees_with_clean_fid_within_its_spread() -> None:
    from cleanfid.fid import kernel_distance as theirs

    x, y = features(400, 5, 1), features(400, 5, 2)
    np.random.seed(0)  # clean-fid draws from the global state
    other = np.array([theirs(x, y, num_subsets=20, max_subset_size=100) for _ in range(10)])
    ours = kernel_distance(x, y, subsets=200, subset_size=100)
    assert abs(ours - other.mean()) < 4 * other.std(ddof=1) * math.sqrt(1 / 10 + 1 / 10)


def test_kernel_distance_refuses_bad_sets() -> None:
    with pytest.raises(Refused, match="same d"):
        kernel_distance(np.ones((3, 2)), np.ones((3, 4)))


def test_nearest() -> None:
    data = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    torch.testing.assert_close(nearest(torch.tensor([[0.0, 0.2], [3.0, 0.0]]), data), torch.tensor([0.2, 3.0]))
    torch.testing.assert_close(nearest_other(data, block=2), torch.tensor([1.0, math.sqrt(18), 1.0]))


SAMPLES = {"digits": (1, 8, 8), "pixels": (3, 4), "rff": (2,)}


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
class TestEveryExtractor:
    def test_features_are_finite_rows_of_each_sample(self, name: str) -> None:
        extractor, x = load_extractor(name).eval(), torch.randn(12, *SAMPLES[name])
        with torch.inference_mode():
            whole = extractor(x)
            assert whole.shape[0] == 12
            assert whole.ndim == 2
            torch.testing.assert_close(torch.cat([extractor(x[:5]), extractor(x[5:])]), whole, rtol=1e-4, atol=1e-4)
        assert extractor.name == name
        assert extractor.sha256 == load_extractor(name).sha256

    def test_statistics_come_back_and_are_refused_to_others(self, name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
        extractor, x = load_extractor(name).eval(), torch.randn(40, *SAMPLES[name])
        reference = references(x, [extractor])[name]
        reference.save(tmp_path / "s.npz")
        again = Reference.load(tmp_path / "s.npz", extractor)
        np.testing.assert_array_equal(again.frechet.covariance, reference.frechet.covariance)
        other = load_extractor("pixels" if name != "pixels" else "rff")
        with pytest.raises(Refused, match=f"extractor '{name}'"):
            Reference.load(tmp_path / "s.npz", other)

    def test_scores_name_the_extractor_and_are_near_zero_for_the_reference(self, name: str) -> None:
        extractor, x = load_extractor(name).eval(), torch.randn(200, *SAMPLES[name])
        found = references(x, [extractor])
        tally = Tally([extractor])
        tally.fold(x[:90], 0)
        tally.fold(x[90:], 90)
        result = scores(tally, found)
        assert set(result) == {f"fd_{name}", f"kd_{name}"}
        assert abs(result[f"fd_{name}"]) < 1e-3 * np.trace(found[name].frechet.covariance)


def test_tallies_merge() -> None:
    extractor, x = load_extractor("pixels"), torch.randn(100, 6)
    whole, a, b = Tally([extractor]), Tally([extractor]), Tally([extractor])
    whole.fold(x, 0)
    b.fold(x[60:], 60)
    a.fold(x[:60], 0)
    merged = b + a  # in any order
    np.testing.assert_array_equal(merged.features("pixels"), whole.features("pixels"))
    np.testing.assert_allclose(merged.moments["pixels"].covariance, whole.moments["pixels"].covariance, rtol=1e-10)


def test_rff_is_a_kernel() -> None:
    """Features' inner products approximate the mean of the four Gaussian kernels, with error about 1/√d."""
    x = torch.randn(30, 2) * 0.3
    f = load_extractor("rff")(x)
    distance = torch.cdist(x, x) ** 2
    kernel = torch.stack([torch.exp(-distance / (2 * h**2)) for h in (1.0, 0.3, 0.1, 0.03)]).mean(0)
    assert float((f @ f.T - kernel).abs().mean()) < 2 / math.sqrt(256)


def test_extractors_refuse_other_samples() -> None:
    for name in ("digits", "rff"):
        with pytest.raises(Refused, match=name):
            load_extractor(name)(torch.zeros(2, 3, 8, 8))
    with pytest.raises(Refused, match="known are"):
        load_extractor("inception")


def test_the_classifier_knows_its_digits() -> None:
    """Its card's accuracy on the held-out digits is what it has (computed anew on the same 360)."""
    from study.checkpoints import find
    from study.data import load_data
    from study.modules.classify import HELD_OUT, SEED

    data, card = load_data("digits"), find("digits-classifier", "classifier")
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        test = torch.randperm(len(data.samples))[:HELD_OUT]
    with torch.inference_mode():
        predicted = load_extractor("digits").network.eval()(data.samples[test]).argmax(1)
    assert data.labels is not None
    assert float((predicted == data.labels[test]).double().mean()) == pytest.approx(card.get("test_accuracy", float))
    assert card.get("test_accuracy", float) > 0.98
