import math

import pytest
import torch

from degradations import InputError, score
from study.data import load_data
from study.models import ExactGaussian, ExactMixture


def mixture(classes: torch.Tensor | None = None) -> ExactMixture:
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    roots = 0.4 * torch.randn(4, 3, 3, generator=generator, dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    return ExactMixture(means, roots @ roots.mT + 0.1 * torch.eye(3), weights, classes)


def test_a_mixture_of_one_is_the_gaussian() -> None:
    one = ExactMixture(
        torch.full((1, 2), 0.3).double(), 0.49 * torch.eye(2)[None].double(), torch.ones(1).double()
    )
    x, sigma = torch.randn(50, 2).double(), torch.rand(50).double() * 3
    torch.testing.assert_close(one(x, sigma), ExactGaussian(0.7, 0.3)(x, sigma))


def test_denoiser_is_the_gradient_of_the_density() -> None:
    """Tweedie: (D − x)/σ² = ∇ log p(x; σ), the gradient by autograd of an independent formula of
    the density."""
    exact, x, sigma = mixture(), torch.randn(64, 3).double().requires_grad_(), 0.35
    covariance = exact.axes @ torch.diag_embed(
        exact.variances
    ) @ exact.axes.mT + sigma**2 * torch.eye(3)
    normal = torch.distributions.MultivariateNormal(exact.means, covariance)
    density = (exact.log_weights + normal.log_prob(x[:, None])).logsumexp(dim=1)
    (gradient,) = torch.autograd.grad(density.sum(), x)
    torch.testing.assert_close(score(exact(x, sigma), x, sigma), gradient)
    torch.testing.assert_close(exact.log_density(x, sigma), density)


def test_a_label_restricts_the_mixture_to_its_class() -> None:
    whole = mixture(torch.tensor([0, 1, 0, 1]))
    covariance = whole.axes @ torch.diag_embed(whole.variances) @ whole.axes.mT
    half = ExactMixture(whole.means[1::2], covariance[1::2], torch.tensor([2.0, 4.0]).double())
    x, label = torch.randn(20, 3).double(), torch.ones(20).long()
    torch.testing.assert_close(whole(x, 0.5, label), half(x, 0.5))
    torch.testing.assert_close(whole.log_density(x, 0.5, label), half.log_density(x, 0.5))


def test_draws_have_the_mixture_s_moments() -> None:
    exact, n = mixture(), 200_000
    x, k = exact.draw(n, torch.Generator().manual_seed(0))
    weights = exact.log_weights.exp()
    mean = weights @ exact.means
    variance = weights @ (exact.variances.sum(1) + ((exact.means - mean) ** 2).sum(1))
    error = 4 * math.sqrt(float(variance) / n)
    assert float((x.mean(0) - mean).abs().max()) < error
    assert float(x.var(dim=0).sum()) == pytest.approx(float(variance), rel=0.02)
    assert torch.bincount(k).div(n).tolist() == pytest.approx(weights.tolist(), abs=0.005)


def test_bad_parameters_are_rejected() -> None:
    with pytest.raises(InputError, match="std"):
        ExactGaussian(0.0)
    with pytest.raises(InputError, match="covariances"):
        ExactMixture(torch.zeros(3, 2), torch.eye(2)[None], torch.ones(3))


def test_fractal_is_centred_with_standard_deviation_one_half() -> None:
    data = load_data("fractal")
    assert data.exact is not None
    assert len(data.exact.means) == 127 * 8
    assert data.samples.mean(0).abs().max() < 4 * 0.6 / math.sqrt(len(data.samples))
    assert float((data.samples**2).mean().sqrt()) == pytest.approx(0.5, rel=0.01)


def test_digits_are_all_there() -> None:
    data = load_data("digits")
    assert data.samples.shape == (1797, 1, 8, 8)
    assert float(data.samples.min()) == -1
    assert float(data.samples.max()) == 1
    assert float(data.samples.std()) == pytest.approx(0.752, abs=0.001)
    assert data.counts is not None
    assert data.counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_unknown_data_is_rejected() -> None:
    with pytest.raises(InputError, match=r"accepted: digits, fractal"):
        load_data("imagenet")
