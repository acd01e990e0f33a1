import math

import numpy as np
import pytest
import scipy.linalg
import torch

from degradations import InputError, RunError
from study.metrics import (
    EXTRACTORS,
    FrechetReference,
    Moments,
    Pixels,
    Reference,
    Tally,
    kernel_distance,
    load_extractor,
    nearest,
    nearest_other,
    references,
    replicates,
    scores,
    size_curves,
    strata,
)
from study.metrics.extractors import Digits
from study.records.statistics import extrapolate

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


def test_kernel_distance_refuses_bad_sets() -> None:
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


SAMPLES = {"digits": (1, 8, 8), "pixels": (3, 4), "rff": (2,)}


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
class TestEveryExtractor:
    def test_features_are_finite_rows_of_each_sample(self, name: str) -> None:
        extractor, x = load_extractor(name).eval(), torch.randn(12, *SAMPLES[name])
        with torch.inference_mode():
            whole = extractor(x)
            assert whole.shape[0] == 12
            assert whole.ndim == 2
            torch.testing.assert_close(
                torch.cat([extractor(x[:5]), extractor(x[5:])]), whole, rtol=1e-4, atol=1e-4
            )
        assert extractor.name == name
        assert extractor.sha256 == load_extractor(name).sha256

    def test_statistics_come_back_and_are_refused_to_others(self, name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
        extractor, x = load_extractor(name).eval(), torch.randn(40, *SAMPLES[name])
        reference = references(x, [extractor])[name]
        reference.save(tmp_path / "s.npz")
        again = Reference.load(tmp_path / "s.npz", extractor)
        np.testing.assert_array_equal(again.frechet.covariance, reference.frechet.covariance)
        other = load_extractor("pixels" if name != "pixels" else "rff")
        with pytest.raises(InputError, match=f"extractor '{name}'"):
            Reference.load(tmp_path / "s.npz", other)

    def test_scores_name_the_extractor_and_are_near_zero_for_the_reference(self, name: str) -> None:
        extractor, x = load_extractor(name).eval(), torch.randn(200, *SAMPLES[name])
        found = references(x, [extractor])
        tally = Tally([extractor])
        tally.fold(x[:90], 0)
        tally.fold(x[90:], 90)
        result = scores(tally, found)
        of = {"fd", "kd", "precision", "recall", "density", "coverage"}
        assert set(result) == {
            *(f"{key}_{name}" for key in of),
            f"fd_{name}_mean",
            f"fd_{name}_cov",
        }
        assert 0 <= result[f"fd_{name}"] < 1e-3 * np.trace(found[name].frechet.covariance)
        assert result[f"fd_{name}_mean"] + result[f"fd_{name}_cov"] == result[f"fd_{name}"]
        assert [result[f"{key}_{name}"] for key in ("precision", "recall", "coverage")] == [1, 1, 1]
        held_out = scores(tally, found, suffix="_held_out")
        assert held_out == {
            f"{key}_{name}_held_out": result[f"{key}_{name}"] for key in ("fd", "kd")
        }

    def test_what_it_makes_of_features_it_makes_of_samples(self, name: str) -> None:
        extractor, x = load_extractor(name).eval(), torch.randn(12, *SAMPLES[name])
        with torch.inference_mode():
            logits = extractor.logits(extractor(x))
            if isinstance(extractor, Digits):
                torch.testing.assert_close(logits, extractor.network(x))
            else:
                assert logits is None


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
    with pytest.raises(InputError, match="as many labels, found 3"):
        strata(4, torch.zeros(3))


class Sign(Pixels):
    """Takes a sample for 1 if its first element is above 0, and otherwise for 0."""

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([-features[:, 0], features[:, 0]], 1)


LABELS, DIVIDED = (
    torch.arange(103) % 2,
    torch.randn(103, 6, generator=torch.Generator().manual_seed(1)),
)


def divided(*chunks: tuple[int, int]) -> Tally:
    """A tally of some chunks, (first, end), of a stream in ten groups."""
    tally = Tally([Sign()], strata(103, LABELS))
    for first, end in chunks:
        tally.fold(DIVIDED[first:end], first, LABELS[first:end])
    return tally


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
    assert tally.right["pixels"] == int(((x[:, 0] > 0).long() == labels).sum())
    assert tally.labelled["pixels"] == 70
    for group, part in enumerate(tally.parts["pixels"]):
        np.testing.assert_allclose(part.total, x[groups == group].sum(0), rtol=1e-4, atol=1e-4)
    drawn = score(sampler, Job(PerSample((70, 16), 20, 2), 0), Tally([Sign()], strata(70, None)))
    assert drawn.labelled["pixels"] == 70
    assert [part.n for part in drawn.parts["pixels"]] == [7] * 10
    assert len(score(sampler, Job(source, 0, 1.0), Tally([Sign()])).parts["pixels"]) == 1


def test_rff_is_a_kernel() -> None:
    """Features' inner products approximate the mean of the four Gaussian kernels, with error about
    1/√d."""
    x = torch.randn(30, 2) * 0.3
    f = load_extractor("rff")(x)
    distance = torch.cdist(x, x) ** 2
    kernel = torch.stack([torch.exp(-distance / (2 * h**2)) for h in (1.0, 0.3, 0.1, 0.03)]).mean(0)
    assert float((f @ f.T - kernel).abs().mean()) < 2 / math.sqrt(256)


def test_extractors_refuse_other_samples() -> None:
    for name in ("digits", "rff"):
        with pytest.raises(InputError, match=name):
            load_extractor(name)(torch.zeros(2, 3, 8, 8))
    with pytest.raises(InputError, match="known are"):
        load_extractor("fid")


def test_the_classifier_knows_its_digits() -> None:
    """Its card's accuracy on the held-out digits is what it has (computed anew on the same 360)."""
    from study.checkpoints import find
    from study.data import load_data
    from study.lightning.classify import HELD_OUT, SEED

    data, card = load_data("digits"), find("digits-classifier", "classifier")
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        test = torch.randperm(len(data.samples))[:HELD_OUT]
    with torch.inference_mode():
        predicted = load_extractor("digits").network.eval()(data.samples[test]).argmax(1)
    assert data.labels is not None
    assert float((predicted == data.labels[test]).double().mean()) == pytest.approx(
        card.get("test_accuracy", float)
    )
    assert card.get("test_accuracy", float) > 0.98
