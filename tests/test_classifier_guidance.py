"""Classifiers of noisy samples: closed forms, trained ones, and guidance by them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from degradations import Classifier, InputError, Pair, parse
from study.checkpoints import build_classifier, classifier_folder, load_base, with_classifier
from study.cli.config import load_spec
from study.cli.main import call
from study.data import load_data
from study.engine.bases import untrained
from study.engine.check import evaluator_of
from study.engine.trainings import train_noisy_classifier
from study.models import ExactGaussian, ExactMixture
from study.records.task import Task
from study.specs import NetworkSpec, PairingSpec, RecipeSpec, StudySpec
from tests.command_line import SMALL, says
from tests.helpers import small_classifier, small_network

TINY = RecipeSpec(network=NetworkSpec(16, 24, 1, 8), steps=40, batch=64, label_dropout=0.1)


def mixture() -> ExactMixture:
    """Three classes, one of two components, in the plane, in float64."""
    means = torch.tensor([[1.0, 0.0], [0.6, 0.9], [-1.0, 0.2], [-0.4, -0.8]]).double()
    spread = torch.tensor([[0.10, 0.04], [0.04, 0.07]]).double()
    covariances = torch.stack([spread * s for s in (1.0, 0.5, 1.4, 0.8)])
    weights = torch.tensor([1.0, 2.0, 1.5, 0.5]).double()
    return ExactMixture(means, covariances, weights, torch.tensor([0, 0, 1, 2]))


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_with_an_exact_classifier_it_is_classifier_free_guidance(sigma: float) -> None:
    """D(x; c) + γσ²∇log p(c|x): γ = w − 1 on a conditional D, γ = w on an unconditional one."""
    base, label, w = mixture(), torch.tensor([0, 1, 2, -1] * 10), 2.5
    x = torch.randn(40, 2, dtype=torch.float64)
    free = Pair(base, "none", "label-drop(1)").at(w)(x, sigma, label)
    given = Pair(base, "none", "classifier(1)").at(w)(x, sigma, label)
    torch.testing.assert_close(given, free, rtol=1e-5, atol=1e-5)
    main, guide = "label-drop(1)", "label-drop(1)+classifier(1)"
    from_unlabelled = Pair(base, main, guide).at(1 + w)(x, sigma, label)
    torch.testing.assert_close(from_unlabelled, free, rtol=1e-5, atol=1e-5)


def test_the_exact_classifier_knows_the_posterior() -> None:
    """Bayes' formula by densities of single classes, and the gradient by finite differences."""
    base, x, sigma = mixture(), torch.randn(30, 2, dtype=torch.float64), 0.7
    assert base.classifier is not None
    log_p = base.classifier()(x, sigma)
    prior = torch.tensor([3.0, 1.5, 0.5]).double() / 5
    each = torch.stack(
        [base.log_density(x, sigma, torch.full((30,), c)) + prior[c].log() for c in range(3)], 1
    )
    torch.testing.assert_close(log_p, each - each.logsumexp(1, keepdim=True))
    label, h = torch.arange(30) % 3, 1e-5
    found = base.classifier().shift(x, sigma, label) / sigma**2
    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = h
        higher, lower = (base.classifier()(x + s * step, sigma) for s in (1, -1))
        slope = ((higher - lower) / (2 * h)).gather(1, label[:, None])[:, 0]
        torch.testing.assert_close(found[:, axis], slope, rtol=1e-6, atol=1e-7)


def test_sampling_without_gradients_has_them_for_the_classifier() -> None:
    base, x, label = small_network(), torch.randn(6, 16), torch.arange(6) % 3
    expected = Classifier(1)(base)(x, 0.7, label)
    small_classifier.cache_clear()  # made while sampling, as one that is read from a file
    with torch.inference_mode():
        x, label = x.clone(), label.clone()  # tensors of inference, which autograd refuses
        found = Classifier(1)(base)(x, torch.full((6,), 0.7), label)
        assert found.is_inference()
    torch.testing.assert_close(found, expected)


def test_a_sample_without_a_label_is_left_alone() -> None:
    base, x = small_network(), torch.randn(4, 16)
    label = torch.tensor([0, -1, 2, -1])
    found, plain = Classifier(1)(base)(x, 0.7, label), base(x, 0.7, label)
    assert torch.equal(found[1::2], plain[1::2])
    assert not torch.isclose(found[::2], plain[::2]).any(dim=1).all()
    assert torch.equal(Classifier(1)(base)(x, 0.7), base(x, 0.7))


def test_degradations_of_the_network_do_not_reach_it() -> None:
    """What the classifier adds is the same after weights are pruned, before or behind."""
    base, x, label = small_network(), torch.randn(6, 16), torch.arange(6) % 3
    shift = small_classifier().shift(x, 0.7, label)
    for name in ("prune(0.5)+classifier(1)", "classifier(1)+prune(0.5)"):
        found = parse("prune(0.5)")(base)(x, 0.7, label) - parse(name)(base)(x, 0.7, label)
        torch.testing.assert_close(found, shift, rtol=1e-4, atol=1e-5)


def test_main_and_guide_share_their_evaluation() -> None:
    pair = Pair(small_network(), "none", "classifier(1)")
    assert pair.shares
    assert Pair(small_network(), "label-drop(1)", "label-drop(1)+classifier(2)").shares


def test_a_base_without_a_classifier_is_refused() -> None:
    with pytest.raises(InputError, match=r"classifier\(1\): found a base without .*noisy-classi"):
        Classifier(1)(ExactGaussian(0.5))


class TestTrained:
    @pytest.fixture(scope="class")
    def root(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("root")
        train_noisy_classifier(StudySpec("tiny", recipe=TINY), root)
        return root

    def test_it_is_found_by_bases_of_the_same_data(self, root: Path) -> None:
        spec = StudySpec("tiny", recipe=TINY)
        own = untrained(spec, root=root)
        card = json.loads((classifier_folder(TINY, root) / "card.json").read_text())
        assert own.classifier_sha256 == card["weights_sha256"]
        assert own.denoiser.classifier is not None
        log_p = own.denoiser.classifier()(own.data.samples[:5], 0.5)
        torch.testing.assert_close(log_p.exp().sum(1), torch.ones(5))
        # the classifier that ships is of all digits: a base of a part has none
        elsewhere = untrained(spec, root=root / "elsewhere")
        assert elsewhere.classifier_sha256 not in (None, own.classifier_sha256)
        part = replace(spec, recipe=replace(TINY, samples=0.8))
        assert untrained(part, root=root).classifier_sha256 is None

    def test_training_again_is_the_same_and_another_recipe_is_refused(self, root: Path) -> None:
        spec = StudySpec("tiny", recipe=TINY)
        again = train_noisy_classifier(spec, root, out=root / "again")
        here = classifier_folder(TINY, root)
        assert (again / "weights.safetensors").read_bytes() == (
            here / "weights.safetensors"
        ).read_bytes()
        longer = replace(spec, recipe=replace(TINY, steps=41))
        with pytest.raises(InputError, match=r"has another recipe .*steps: 40 then, 41 now"):
            train_noisy_classifier(longer, root)
        assert train_noisy_classifier(longer, root, retrain=True) == here

    def test_data_without_classes_are_refused(self, tmp_path: Path) -> None:
        recipe = replace(TINY, data="fractal")
        with pytest.raises(InputError, match="'fractal', which has no classes"):
            train_noisy_classifier(StudySpec("x", recipe=recipe, reference="fractal"), tmp_path)
        assert not any(tmp_path.iterdir())

    def test_a_card_of_other_data_is_refused(self, root: Path, tmp_path: Path) -> None:
        folder = classifier_folder(TINY, tmp_path)
        train_noisy_classifier(StudySpec("tiny", recipe=replace(TINY, steps=1)), tmp_path)
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps({**card, "data": "fractal"}))
        with pytest.raises(InputError, match="found a classifier of 'fractal'; accepted: one of"):
            untrained(StudySpec("tiny", recipe=TINY), root=tmp_path)


def test_the_shipped_one_knows_noisy_digits() -> None:
    """The share of right classes at each noise level is what its card says."""
    base = with_classifier(load_base("digits", "digits"), Path("nowhere"))
    assert base.denoiser.classifier is not None
    data, classifier = load_data("digits"), base.denoiser.classifier()
    card = json.loads(Path("study/checkpoints/digits-noisy-classifier/card.json").read_text())
    noise = torch.randn(data.samples.shape, generator=torch.Generator().manual_seed(1))
    for sigma, stated in card["accuracy"].items():
        found = classifier(data.samples + float(sigma) * noise, float(sigma)).argmax(1)
        right = float((found == data.labels).double().mean())
        # of 1797 with other noise: 4 standard errors of a difference, of at least one error in 100
        error = (2 * min(stated, 0.99) * (1 - min(stated, 0.99)) / 1797) ** 0.5
        assert abs(right - stated) <= 4 * error


def test_guided_digits_are_more_often_of_their_class() -> None:
    """In a study, whose fingerprint has the classifier, and whose evaluations count the network."""
    pairing = PairingSpec("none", "classifier(1)")
    spec = replace(load_spec(SMALL), pairings=(pairing,), extractors=("digits",))
    evaluator = evaluator_of(spec, Path("mlruns"))
    assert evaluator.fingerprint()["classifier.classifier(1)"] == evaluator.base.classifier_sha256
    alone, guided = (
        evaluator.outcome(Task.guided(pairing, w, 1, 360, 16)) for w in (1.0 + 1e-9, 1.5)
    )
    assert guided.scores["accuracy_digits"] > alone.scores["accuracy_digits"]
    assert guided.network_evaluations == 360 * 31


def test_it_is_trained_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", SMALL, "--noisy-classifier", "--recipe.steps", "2", "--root", str(tmp_path)]
    says(capsys, [*argv, "--classifier"], 2, "--classifier, --noisy-classifier: found both")
    assert call(argv) == 0
    assert (tmp_path / "bases" / "digits-noisy-classifier" / "card.json").is_file()


def test_the_network_is_as_large_as_its_recipe_says() -> None:
    found = build_classifier(TINY, load_data("digits"))
    assert found.head.weight.shape == (10, 64)
    assert found.denoiser.sites() == {"dropout", "block"}
