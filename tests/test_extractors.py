"""The extractors that need no file: digits, pixels and random features."""

import math

import numpy as np
import pytest
import torch

from degradations import InputError
from study.metrics import Reference, Tally, load_extractor, references, scores
from study.metrics.digits_classifier import Digits

SAMPLES = {"digits": (1, 8, 8), "pixels": (3, 4), "random": (3, 6, 5), "rff": (2,)}


@pytest.mark.parametrize("name", sorted(SAMPLES))
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

    def test_statistics_come_back_and_are_rejected_to_others(self, name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
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


def test_rff_is_a_kernel() -> None:
    """Features' inner products approximate the mean of the four Gaussian kernels, with error about
    1/√d."""
    x = torch.randn(30, 2) * 0.3
    f = load_extractor("rff")(x)
    distance = torch.cdist(x, x) ** 2
    kernel = torch.stack([torch.exp(-distance / (2 * h**2)) for h in (1.0, 0.3, 0.1, 0.03)]).mean(0)
    assert float((f @ f.T - kernel).abs().mean()) < 2 / math.sqrt(256)


def test_an_untrained_network_keeps_distances() -> None:
    """Near samples stay near and far ones far, though the network knows nothing of digits."""
    from study.data import load_data

    x = load_data("digits").samples[:300]
    features = load_extractor("random")(x)
    before, after = torch.pdist(x.flatten(1)), torch.pdist(features)
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.8
    values = (127.5 * (x + 1)).round().to(torch.uint8)
    torch.testing.assert_close(load_extractor("random")(values), features, atol=0.02, rtol=0.02)


def test_extractors_reject_other_samples() -> None:
    for name, shape in {"digits": (3, 8, 8), "rff": (3, 8, 8), "random": (1, 8, 3)}.items():
        with pytest.raises(InputError, match=name):
            load_extractor(name)(torch.zeros(2, *shape))
    with pytest.raises(InputError, match="accepted:"):
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
