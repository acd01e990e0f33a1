import math

import numpy as np
import pytest
import torch

from degradations import InputError, InputNoise, Pair
from study.models import ExactGaussian
from study.sampling import Churn, Fixed, PerSample, edm_sigmas, sample, sample_chunk, stratified
from tests.helpers import guided_gaussian_std, small_network

# samples × independent dimensions: the standard error of a standard deviation is 1/√(2·N·D)
N, D = 20_000, 16


@pytest.mark.parametrize("coupling", ["independent", "shared"])
@pytest.mark.parametrize(
    ("a1", "a0", "w", "steps"),
    [(0.1, 0.2, 1.0, 18), (0.1, 0.2, 2.0, 32), (0.1, 0.4, 1.4, 18), (0.2, 0.1, 0.5, 64)],
)
def test_guided_gaussian_samples_follow_the_recursion(
    coupling: str, a1: float, a0: float, w: float, steps: int
) -> None:
    denoiser = Pair(ExactGaussian(0.75), InputNoise(a1), InputNoise(a0), coupling).at(w)  # type: ignore[arg-type]
    x = sample(denoiser, (N, D), steps=steps, sigma_min=0.002, sigma_max=40, seed=1, chunk=N // 4)
    expected = guided_gaussian_std(0.75, a1, a0, w, steps, 40.0, coupling=coupling)
    error = expected / math.sqrt(2 * N * D)
    assert abs(float(x.double().std()) - expected) < 4 * error
    assert abs(float(x.double().mean())) < 4 * expected / math.sqrt(N * D)
    # Gaussian in every dimension, and the dimensions independent: fourth moment and correlations
    z = x.double() / expected
    assert abs(float((z**4).mean()) - 3) < 4 * math.sqrt(96 / (N * D))
    assert abs(np.corrcoef(x.T.numpy())[~np.eye(D, dtype=bool)]).max() < 5 / math.sqrt(N)


def restoring_weight(steps: int, a1: float, a0: float, coupling: str) -> float:
    """The weight at which the guided samples have the base's own standard deviation at so many
    steps."""
    target = guided_gaussian_std(0.75, 0, 0, 1.0, steps, 40.0)
    low, high = 1.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        below = guided_gaussian_std(0.75, a1, a0, middle, steps, 40.0, coupling=coupling) < target
        low, high = (middle, high) if below else (low, middle)
    return low


def test_the_best_weight_tends_to_its_limit() -> None:
    limit = math.log(1.2) / math.log(1.2 / 1.1)
    assert limit == pytest.approx(2.0954, abs=1e-4)
    found = [restoring_weight(steps, 0.1, 0.2, "independent") for steps in (18, 32, 64, 256)]
    # published small-scale values
    assert found == pytest.approx([1.74, 1.87, 1.97, 2.06], abs=0.01)
    gaps = [limit - restoring_weight(steps, 0.1, 0.2, "independent") for steps in (512, 1024, 2048)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.02
    assert all(2.05 < restoring_weight(steps, 0.1, 0.2, "shared") < 2.1 for steps in (18, 32, 64))
    assert restoring_weight(2048, 0.1, 0.4, "independent") == pytest.approx(
        math.log(1.4) / math.log(1.4 / 1.1), abs=0.02
    )


def test_the_variance_of_fresh_draws_falls_as_one_over_steps() -> None:
    """Half the squared difference of two runs from one start, which differ in their draws alone."""
    denoiser = Pair(ExactGaussian(0.75), InputNoise(0.1), InputNoise(0.2)).at(2.0)
    steps, variances = [32, 64, 128, 256], []
    for n in steps:
        sigmas = edm_sigmas(n, 0.002, 40).tolist()
        start = Fixed((4000, 16), 4000).start(0, 0)
        other = start._replace(draws=Fixed((4000, 16), 4000).start(1, 0).draws)
        a, b = sample_chunk(denoiser, start, sigmas), sample_chunk(denoiser, other, sigmas)
        variances.append(float(((a - b) ** 2).mean()) / 2)
    slope = np.polyfit(np.log(steps), np.log(variances), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


def test_heun_solves_the_gaussian_ode() -> None:
    """The ODE takes x_T to x_T·√(s² / (s² + σmax²)), up to the last step, which is D(x; σmin)."""
    start = Fixed((100, 3), 100).start(0, 0, torch.float64)
    x = sample_chunk(ExactGaussian(0.75), start, edm_sigmas(1024, 1e-4, 80).tolist())
    torch.testing.assert_close(
        x, start.noise * 80 * 0.75 / math.sqrt(0.75**2 + 80**2), rtol=1e-4, atol=1e-6
    )


def test_churn_keeps_the_marginals_and_changes_the_path() -> None:
    denoiser = ExactGaussian(0.75)
    args = {"steps": 128, "sigma_min": 0.002, "sigma_max": 40.0, "chunk": N}
    plain = sample(denoiser, (N, 4), **args)  # type: ignore[arg-type]
    churned = sample(denoiser, (N, 4), churn=Churn(40, 0.05, 10, 1.0), **args)  # type: ignore[arg-type]
    assert float(churned.std()) == pytest.approx(0.75, abs=0.75 * (4 / math.sqrt(8 * N) + 0.01))
    assert float((plain * churned).mean() / (plain.std() * churned.std())) < 0.9
    assert torch.equal(plain, sample(denoiser, (N, 4), churn=Churn(0), **args))  # type: ignore[arg-type]


def test_grid() -> None:
    sigmas = edm_sigmas(18, 0.002, 80)
    assert len(sigmas) == 19
    assert sigmas[[0, 17, 18]].tolist() == pytest.approx([80, 0.002, 0])
    assert sigmas[1].item() == pytest.approx(
        (80 ** (1 / 7) + (0.002 ** (1 / 7) - 80 ** (1 / 7)) / 17) ** 7
    )


@pytest.mark.parametrize(
    "bad", [{"steps": 1}, {"sigma_min": 0}, {"sigma_min": 90}, {"rho": -1}, {"solver": "rk4"}]
)
def test_bad_samplers_are_rejected(bad: dict) -> None:
    with pytest.raises(InputError):
        sample(ExactGaussian(1.0), (4, 2), **bad)


@pytest.mark.parametrize("shape", [(0, 2), (4,), (4, 0)])
def test_bad_shapes_are_rejected(shape: tuple) -> None:
    with pytest.raises(InputError, match="shape"):
        sample(ExactGaussian(1.0), shape, steps=4)


def test_labels_must_match() -> None:
    with pytest.raises(InputError, match="labels"):
        sample(small_network(), (4, 16), steps=4, labels=torch.zeros(3).long())


def test_chunks_do_not_depend_on_one_another() -> None:
    denoiser, sigmas = (
        Pair(small_network(), InputNoise(0.1), InputNoise(0.2)).at(2.0),
        edm_sigmas(6, 0.01, 10).tolist(),
    )
    source = Fixed((50, 16), 20, torch.arange(50) % 3)
    whole = sample(
        denoiser,
        (50, 16),
        steps=6,
        sigma_min=0.01,
        sigma_max=10,
        labels=torch.arange(50) % 3,
        chunk=20,
    )
    for chunk in (2, 0, 1):  # in any order
        part = sample_chunk(denoiser, source.start(0, chunk), sigmas)
        indices = source.indices(chunk)
        assert torch.equal(part, whole[indices.start : indices.stop])


def test_same_seed_same_samples_other_seed_others() -> None:
    denoiser = ExactGaussian(1.0)
    assert torch.equal(
        sample(denoiser, (10, 2), steps=4, seed=5), sample(denoiser, (10, 2), steps=4, seed=5)
    )
    assert not torch.equal(
        sample(denoiser, (10, 2), steps=4, seed=5), sample(denoiser, (10, 2), steps=4, seed=6)
    )


def test_per_sample_sources_do_not_depend_on_the_chunk() -> None:
    small, large = PerSample((10, 1, 2, 2), 3, 7), PerSample((10, 1, 2, 2), 10, 7)
    parts = [small.start(2, chunk) for chunk in range(len(small))]
    whole = large.start(2, 0)
    assert torch.equal(torch.cat([p.noise for p in parts]), whole.noise)
    whole_label = whole.condition.label
    assert whole_label is not None
    assert torch.equal(torch.cat([p.condition.labels(p.noise) for p in parts]), whole_label)
    # noise first, then the label, from one generator
    generator = torch.Generator().manual_seed(2 * 50_000 + 4)
    assert torch.equal(whole.noise[4], torch.randn(1, 2, 2, generator=generator))
    assert int(whole_label[4]) == int(torch.randint(7, (), generator=generator))


def test_stratified_labels_have_the_data_s_proportions() -> None:
    counts = torch.tensor([178, 182, 177, 183, 181])
    total = int(counts.sum())
    assert torch.equal(torch.bincount(stratified(counts, total)), counts)
    assert torch.equal(torch.bincount(stratified(counts, 2 * total)), 2 * counts)
    assert (torch.bincount(stratified(counts, 100)) - counts * 100 / total).abs().max() < 1
    first = torch.bincount(stratified(counts, total)[:300], minlength=5)
    assert first.min() > 30  # interleaved
