"""Every network, preconditioning and objective is trained, kept, and loaded again."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from degradations import InputError
from study.checkpoints import build, load_base, of_recipe
from study.data import Data, load_data
from study.engine.bases import resolve
from study.engine.trainings import train_base
from study.lightning.train import TrainDenoiser, train
from study.models import ExactGaussian, networks, preconditionings
from study.models.edm2_blocks import Weight
from study.specs import NetworkSpec, RecipeSpec, StudySpec
from study.training import Uncertainty, objective_of, objectives

NETWORKS = {
    "adm": NetworkSpec(kind="adm", width=16, blocks=1, patch=1, attention_at=(4,)),
    "ddpmpp": NetworkSpec(kind="ddpmpp", width=16, blocks=1, patch=2, attention_at=(4,)),
    "edm2": NetworkSpec(kind="edm2", width=16, blocks=1, patch=1, attention_at=(4,)),
    "mlp": NetworkSpec(width=24, hidden=32, blocks=2),
    "transformer": NetworkSpec(kind="transformer", width=24, hidden=32, blocks=2),
}
SITES = {
    "adm": {"attention", "block", "dropout", "label", "map"},
    "ddpmpp": {"attention", "block", "dropout", "label", "map"},
    "edm2": {"attention", "block", "dropout", "label", "map"},
    "mlp": {"block", "dropout", "label"},
    "transformer": {"attention", "block", "dropout", "label", "map"},
}


def recipe_of(kind: str, **changes: object) -> RecipeSpec:
    few = {"steps": 120} if kind in ("mlp", "transformer") else {"steps": 60, "batch": 32}
    changes = {"batch": 64, "lr": 5e-3, "ema": 0.1, **few, **changes}
    return RecipeSpec(network=NETWORKS[kind], **changes)  # type: ignore[arg-type]


def error(denoiser: torch.nn.Module, data: Data) -> float:
    """The mean squared error of the estimate at σ = 0.5, on some of the data."""
    assert data.labels is not None
    y, generator = data.samples[:256], torch.Generator().manual_seed(5)
    noisy = y + 0.5 * torch.randn(y.shape, generator=generator)
    with torch.no_grad():
        found: Tensor = denoiser(noisy, 0.5, data.labels[:256])
    return float((found - y).square().mean())


def test_every_network_has_a_row() -> None:
    assert list(NETWORKS) == list(networks())


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_is_trained_kept_and_loaded(kind: str, tmp_path: Path) -> None:
    recipe, data = recipe_of(kind), load_data("digits")
    untrained = of_recipe(recipe, data)
    assert untrained.sites() == SITES[kind]
    folder = train(recipe, data, tmp_path / "base", "a test", progress=False)
    base = load_base(folder, "digits")
    assert base.recipe == recipe
    # untrained, every network answers c_skip·x, whose error is that of a linear estimate
    before, after = error(untrained, data), error(base.denoiser, data)
    assert after < 0.8 * before
    again = load_base(folder, "digits").denoiser
    assert error(again, data) == after


@pytest.mark.parametrize("name", ["edm", "epsilon", "iddpm", "v", "ve", "vp", "x0"])
def test_every_preconditioning_is_trained(name: str, tmp_path: Path) -> None:
    """A network that answers nothing leaves c_skip·x; trained, D is nearer to the data."""
    assert name in preconditionings()
    kind = "ddpmpp" if preconditionings()[name].gives_time else "mlp"
    steps = {} if kind == "ddpmpp" else {"steps": 400}
    recipe, data = recipe_of(kind, preconditioning=name, **steps), load_data("digits")
    before = error(of_recipe(recipe, data), data)
    folder = train(recipe, data, tmp_path, "a test", progress=False)
    assert error(load_base(folder, "digits").denoiser, data) < 0.9 * before


@pytest.mark.parametrize("name", ["vp", "iddpm"])
def test_times_are_no_input_of_networks_made_for_logarithms(name: str) -> None:
    with pytest.raises(InputError, match=f"found {name} with the network mlp.*adm, ddpmpp"):
        build(NETWORKS["mlp"], load_data("digits"), 0.75, name)


@pytest.mark.parametrize("name", [*objectives(), "p2(k=0.5, gamma=0.5)"])
def test_every_objective_trains(name: str, tmp_path: Path) -> None:
    recipe, data = recipe_of("mlp", objective=name, steps=300), load_data("digits")
    folder = train(recipe, data, tmp_path, "a test", progress=False)
    assert error(load_base(folder, "digits").denoiser, data) < 0.7 * error(
        of_recipe(recipe, data), data
    )


@pytest.mark.parametrize("name", objectives())
def test_uncertainty_is_least_at_the_logarithm_of_the_error(name: str) -> None:
    """λe²/exp(u) + u has its minimum over u at u = ln λe², where it is 1 + u."""
    objective, one = objective_of(name), torch.ones(1)
    y, noise, sigma = torch.tensor([[1.0]]), torch.tensor([[0.5]]), torch.tensor([0.7])

    def loss(u: Tensor | None) -> float:
        return float(objective.loss(ExactGaussian(0.6), y, noise, sigma, None, 0.5, u))

    best = math.log(loss(None))
    assert loss(best * one) == pytest.approx(1 + best, rel=1e-5)
    assert loss((best + 0.1) * one) > loss(best * one) < loss((best - 0.1) * one)


def test_the_uncertainty_is_learned_and_resumed(tmp_path: Path) -> None:
    """u goes towards ln of the loss; a training stopped half way ends in the same weights."""
    recipe, data = recipe_of("mlp", objective="edm2", steps=60), load_data("digits")
    whole = train(recipe, data, tmp_path / "whole", "", progress=False)
    train(recipe, data, tmp_path / "parts", "", progress=False, until=32)
    parts = train(recipe, data, tmp_path / "parts", "", progress=False)
    assert (whole / "weights.safetensors").read_bytes() == (
        parts / "weights.safetensors"
    ).read_bytes()
    module = TrainDenoiser(recipe, data)
    assert module.uncertainty is not None
    sigma = torch.tensor([0.1, 1.0, 10.0])
    assert module.uncertainty(sigma).tolist() == [0, 0, 0]
    assert Uncertainty()(sigma).requires_grad


def test_the_weights_of_edm2_are_forced_to_unit_magnitude(tmp_path: Path) -> None:
    """And the magnitude of the trained weight changes nothing."""
    data = load_data("digits")
    denoiser = of_recipe(recipe_of("edm2"), data)
    before = error(denoiser, data)
    denoiser.train()
    weights = [each for each in denoiser.modules() if isinstance(each, Weight)]
    with torch.no_grad():
        for each in weights:
            each.weight *= 3
    assert error(denoiser, data) == pytest.approx(before, rel=1e-3)
    assert data.labels is not None
    denoiser(data.samples[:4], 0.5, data.labels[:4])
    for each in weights:
        rms = each.weight.detach().flatten(1).square().mean(1).sqrt()
        torch.testing.assert_close(rms, torch.ones_like(rms), rtol=1e-2, atol=0)


def test_images_are_mirrored_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them, each with its own label and noise as without."""
    data = load_data("digits")
    seen: list[Tensor] = []

    def loss(self: object, denoiser: object, y: Tensor, *rest: object) -> Tensor:
        seen.append(y)
        return y.mean()

    monkeypatch.setattr("study.training.objective.Objective.loss", loss)
    for flips in (False, True):
        module = TrainDenoiser(recipe_of("mlp", flips=flips), data)
        monkeypatch.setattr(TrainDenoiser, "global_step", 7)
        monkeypatch.setattr(module, "log", lambda *args: None)
        module.training_step(7, 7)
    plain, mirrored = seen
    same = (plain == mirrored).flatten(1).all(1)
    turned = (plain.flip(-1) == mirrored).flatten(1).all(1)
    assert bool((same | turned).all())
    assert 16 < int(turned.sum()) < 48


def test_points_are_not_mirrored() -> None:
    with pytest.raises(InputError, match=r"recipe\.flips.*images"):
        TrainDenoiser(RecipeSpec(data="fractal", flips=True), load_data("fractal"))


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (NetworkSpec(kind="adm", patch=3), "square images .* a multiple of network.patch, 3"),
        (NetworkSpec(kind="edm2", width=16, multipliers=(1, 2, 2, 2, 2), patch=1), "multiples of"),
        (NetworkSpec(kind="adm", width=10), "channels to be normalised"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(network: NetworkSpec, why: str) -> None:
    with pytest.raises(InputError, match=why):
        build(network, load_data("digits"), 0.75)


def test_a_base_of_images_of_one_s_own(tmp_path: Path) -> None:
    """Trained into a folder named by the content; studied where the images are not."""
    from tests.test_own_data import images, write

    place = write(tmp_path / "pets", images(40), [f"{'ab'[i % 2]}/{i}.png" for i in range(40)])
    recipe = replace(recipe_of("mlp", steps=5, batch=8), data=str(place))
    spec = StudySpec("mine", recipe=recipe, reference=str(place))
    root = tmp_path / "root"
    folder = train_base(spec, root, progress=False)
    assert train_base(spec, root, progress=False) == folder
    base = resolve("base", spec, root)
    assert (base.data.shape, base.data.classes, len(base.data.samples)) == ((3, 6, 6), 2, 40)
    write(place, images(1, seed=9), ["a/0.png"])
    load_data.cache_clear()
    assert train_base(spec, root, progress=False) != folder
    with pytest.raises(InputError, match="was trained on other content of"):
        load_base(folder, None, root)
    place.rename(tmp_path / "elsewhere")
    load_data.cache_clear()
    alone = load_base(folder, None, root)
    assert (alone.data.shape, alone.data.classes, len(alone.data.samples)) == ((3, 6, 6), 2, 0)
    assert alone.sha256 == base.sha256
    assert alone.trained_on is None
    assert math.isfinite(float(alone.denoiser(torch.zeros(1, 3, 6, 6), 1.0).sum()))
