"""Variants of a base: the snapshots, averages and trainings behind them."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from degradations import Denoiser, InputError
from study.checkpoints import Variant, snapshot_path
from study.data import Data, load_data
from study.engine.bases import base_of, by_recipe, resolve, untrained
from study.engine.check import evaluator_of
from study.engine.trainings import train_base
from study.files.atomic import sha256
from study.lightning.train import train
from study.specs import NetworkSpec, PairingSpec, RecipeSpec, SearchSpec, StudySpec
from study.training import STATE, folder_of

RECIPE = RecipeSpec(network=NetworkSpec(8, 12, 1, 4), steps=300, batch=16, ema=0.1, lr=5e-3)
SPEC = StudySpec("tiny", recipe=RECIPE)


def test_a_variant_changes_its_recipe_and_nothing_else() -> None:
    changed = Variant.parse("base@width=0.6,samples=0.5,seed=7,ema=0.2,snapshot=4").recipe(RECIPE)
    assert changed == replace(RECIPE, network=NetworkSpec(5, 7, 1, 4), samples=0.5, seed=7)
    assert Variant.parse("base@width=0.01").recipe(RECIPE).network == NetworkSpec(1, 1, 1, 4)
    transformer = replace(RECIPE, network=NetworkSpec(32, 50, kind="transformer", heads=4))
    scaled = Variant.parse("base@width=0.3").recipe(transformer).network
    assert (scaled.width, scaled.hidden) == (8, 15)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "base@snapshot=299",
            "snapshot: found 299; accepted: a power of two up to 300, or 300, the last step",
        ),
        ("base@snapshot=512", "snapshot: found 512; accepted: a power of two up to 300"),
        ("exact@seed=1", "the exact denoiser, a closed form, has no variants"),
        ("nowhere@seed=1", "accepted: a shipped card"),
        ("nowhere", "accepted: a shipped card"),
        ("base@width=4", "network.width: found 4096 .*|network.hidden"),
    ],
)
def test_variants_of_nothing_are_rejected_before_anything_is_written(
    text: str, says: str, tmp_path: Path
) -> None:
    wide = replace(RECIPE, network=replace(RECIPE.network, hidden=16384))
    for reject in (
        lambda spec: untrained(spec, text),
        lambda spec: resolve(text, spec, tmp_path, progress=False),
    ):
        with pytest.raises(InputError, match=says):
            reject(replace(SPEC, recipe=wide))
    assert not any(tmp_path.iterdir())


def test_a_recipes_own_width_must_be_one_that_snapshots_make() -> None:
    narrow = replace(SPEC, recipe=replace(RECIPE, ema=0.02))
    assert untrained(narrow).recipe == narrow.recipe
    assert untrained(narrow, "base@snapshot=4,ema=0.05").name == "base@snapshot=4,ema=0.05"
    with pytest.raises(
        InputError, match=r"ema: found 0\.02; accepted: a relative width from 0\.04"
    ):
        untrained(narrow, "base@snapshot=4")


def test_another_data_set_than_the_reference_is_rejected() -> None:
    spec = StudySpec("other", base="base@seed=1", recipe=replace(RECIPE, data="fractal"))
    with pytest.raises(
        InputError,
        match="'base@seed=1': a denoiser of the data set 'fractal'; the study's is 'digits'",
    ):
        untrained(spec)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the base of SPEC is trained."""
    root = tmp_path_factory.mktemp("root")
    train_base(SPEC, root, progress=False)
    return root


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RecipeSpec, int | None]]:
    """The trainings of a test, as they come: recipe and until."""
    calls: list[tuple[RecipeSpec, int | None]] = []

    def counted(recipe: RecipeSpec, *args: Any, until: int | None = None) -> Path:
        calls.append((recipe, until))
        return train(recipe, *args, until=until)

    monkeypatch.setattr("study.lightning.train.train", counted)
    return calls


def parameters(denoiser: Denoiser) -> torch.Tensor:
    return torch.cat([p.flatten() for p in denoiser.parameters()])


def test_a_variant_that_changes_nothing_is_the_base(root: Path, trained: list[Any]) -> None:
    folder = folder_of(RECIPE, root, load_data(RECIPE.data))
    base = base_of(SPEC, root)
    assert base.name == "base"
    assert base.sha256 == sha256(folder / "weights.safetensors")
    for name in (
        "base@seed=0",
        "base@snapshot=300",
        "base@ema=0.1",
        f"{folder}",
        f"{folder}@width=1",
    ):
        assert resolve(name, SPEC, root).sha256 == base.sha256
    assert resolve("digits@ema=0.1,snapshot=20000", SPEC, root).name == "digits"
    assert trained == []


def test_a_snapshot_is_the_average_so_far(root: Path, trained: list[Any]) -> None:
    base = resolve("base@snapshot=64", SPEC, root)
    assert base.name == "base@snapshot=64"
    assert base.recipe == RECIPE
    assert base.sha256 == sha256(
        snapshot_path(folder_of(RECIPE, root, load_data(RECIPE.data)), 64, 0.1)
    )
    assert not base.denoiser.training
    assert (
        resolve(
            f"{folder_of(RECIPE, root, load_data(RECIPE.data))}@snapshot=64", SPEC, root / "other"
        ).sha256
        == base.sha256
    )
    assert trained == []


@pytest.mark.parametrize("step", [256, 300])
@pytest.mark.parametrize("ema", [0.07, 0.15])
def test_an_average_of_another_width_is_that_of_a_training_that_tracks_it(
    step: int, ema: float, root: Path, tmp_path: Path
) -> None:
    """The same training with the same learning rates, its own average being tracked with that
    width."""
    made = parameters(resolve(f"base@ema={ema},snapshot={step}", SPEC, root).denoiser)
    stored = parameters(resolve(f"base@snapshot={step}", SPEC, root).denoiser)
    monitored = train(
        replace(RECIPE, ema=ema), load_data(RECIPE.data), tmp_path, "", progress=False, until=step
    )
    state = torch.load(monitored / STATE, weights_only=True)["state_dict"]
    names = [name for name, _ in untrained(SPEC).denoiser.named_parameters()]
    direct = torch.cat([state[f"average.{name}"].flatten().cpu() for name in names])
    assert float((made - direct).norm()) < 0.15 * float((stored - direct).norm())


def test_variants_are_trained_once_and_no_further_than_wanted(
    tmp_path: Path, trained: list[Any]
) -> None:
    recipe = replace(RECIPE, seed=5)
    first = resolve("base@snapshot=32,seed=5", SPEC, tmp_path, progress=False)
    assert resolve("base@seed=5,snapshot=32", SPEC, tmp_path).sha256 == first.sha256
    resolve("base@seed=5,snapshot=16,ema=0.2", SPEC, tmp_path)
    assert trained == [(recipe, 32)]
    assert not (folder_of(recipe, tmp_path, load_data(recipe.data)) / "card.json").exists()
    on = resolve("base@seed=5", SPEC, tmp_path, progress=False)
    assert resolve("base@seed=5,snapshot=32", SPEC, tmp_path).sha256 == first.sha256
    assert trained == [(recipe, 32), (recipe, None)]
    through = train(recipe, load_data(recipe.data), tmp_path / "through", "", progress=False)
    assert on.sha256 == sha256(through / "weights.safetensors")
    assert on.sha256 != base_of(SPEC, tmp_path, progress=False).sha256


def test_width_and_samples_make_trainings_of_their_own(tmp_path: Path) -> None:
    base = resolve("base@width=0.5,samples=0.25,snapshot=2", SPEC, tmp_path, progress=False)
    assert base.recipe == replace(RECIPE, network=NetworkSpec(4, 6, 1, 4), samples=0.25)
    assert dict(base.denoiser.named_parameters())["network.enter.weight"].shape == (4, 64)
    assert len(base.data.samples) == 1797
    assert base.held_out is not None
    assert len(base.held_out.samples) == 1797 - round(0.25 * 1797)


def test_a_transformer_is_trained_and_has_variants(tmp_path: Path) -> None:
    network = NetworkSpec(8, 12, 1, 4, kind="transformer", heads=2, patch=4)
    spec = replace(SPEC, recipe=replace(RECIPE, network=network, steps=3))
    base = base_of(spec, tmp_path, progress=False)
    assert base.recipe == spec.recipe
    assert "attention" in base.denoiser.sites()
    half = resolve("base@width=0.5,snapshot=2,ema=0.08", spec, tmp_path, progress=False)
    assert half.recipe is not None
    assert (half.recipe.network.width, half.recipe.network.hidden) == (4, 6)
    with pytest.raises(InputError):
        untrained(replace(spec, recipe=replace(spec.recipe, network=replace(network, patch=3))))


def test_the_base_of_a_study_may_be_a_variant(root: Path, trained: list[Any]) -> None:
    folder = folder_of(RECIPE, root, load_data(RECIPE.data))
    spec = replace(SPEC, base=f"{folder}@ema=0.2", recipe=replace(RECIPE, seed=9))
    assert base_of(spec, root).sha256 == sha256(snapshot_path(folder, 300, 0.2))
    assert resolve("base@snapshot=8", spec, root).name == f"{folder}@snapshot=8,ema=0.2"
    assert resolve("base@snapshot=8", spec, root).sha256 == sha256(snapshot_path(folder, 8, 0.2))
    assert trained == []


def test_a_shipped_card_is_trained_again_by_its_recipe(tmp_path: Path, trained: list[Any]) -> None:
    base = resolve(
        "digits@snapshot=4", StudySpec("digits", base="digits"), tmp_path, progress=False
    )
    ((recipe, until),) = trained
    assert (recipe, until) == (base.recipe, 4)
    assert recipe.steps == 20000
    assert [path.parent.name for path in tmp_path.rglob(STATE)] == [
        folder_of(recipe, tmp_path, load_data(recipe.data)).name
    ]


def test_to_retrain_is_to_train_anew_by_the_recipe(tmp_path: Path, trained: list[Any]) -> None:
    spec = replace(SPEC, base="digits@snapshot=8")
    assert by_recipe(spec) == replace(SPEC, base="base@snapshot=8")
    assert by_recipe(replace(SPEC, base="exact")) == SPEC
    for _ in range(2):
        assert base_of(spec, tmp_path, retrain=True, progress=False).name == "base@snapshot=8"
    assert trained == [(RECIPE, 8), (RECIPE, 8)]


def test_untrained_bases_have_the_network_of_the_trained_ones(root: Path) -> None:
    for name in ("base", "base@snapshot=64", "base@width=2", "digits", "digits@seed=3"):
        base = untrained(SPEC, name)
        assert base.name == name
        assert base.recipe is not None
        assert base.denoiser.sites() >= {"dropout"}
    assert (
        parameters(untrained(SPEC).denoiser).shape == parameters(base_of(SPEC, root).denoiser).shape
    )
    fractal = replace(SPEC, base="exact", reference="fractal")
    assert untrained(fractal).denoiser is not None


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.unlink(), "missing; remove .*tiny to train it again"),
        (lambda path: path.write_bytes(path.read_bytes()[:99]), "not a complete safetensors file"),
    ],
)
def test_lost_and_damaged_snapshots_are_rejected(
    harm: Any, says: str, root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(folder_of(RECIPE, root, load_data(RECIPE.data)), folder)
    harm(snapshot_path(folder, 128, 0.05))
    with pytest.raises(InputError, match=says):
        resolve(f"{folder}@ema=0.07", SPEC, tmp_path)


def test_two_at_once_train_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[Path] = []

    def slow(recipe: RecipeSpec, data: Data, folder: Path, *args: Any, **kwargs: Any) -> Path:
        begun.append(folder)
        time.sleep(0.5)
        return Path(shutil.copytree(folder_of(RECIPE, root, data), folder, dirs_exist_ok=True))

    monkeypatch.setattr("study.lightning.train.train", slow)
    both = [threading.Thread(target=train_base, args=(SPEC, tmp_path)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert begun == [folder_of(RECIPE, tmp_path, load_data(RECIPE.data))]
    assert "waiting" in capsys.readouterr().err


def test_what_is_checked_before_a_retraining_is_what_will_be_trained(tmp_path: Path) -> None:
    """The exact denoiser has no dropout sites; the network of the recipe has."""
    recipe = replace(RECIPE, data="fractal", steps=2, batch=8)
    pairing = PairingSpec("dropout(0.2)", "dropout(0.4)")
    spec = StudySpec("x", base="exact", recipe=recipe, reference="fractal", pairings=(pairing,))
    spec = replace(spec, extractors=("rff",), search=SearchSpec(samples=10, method="gp"))
    with pytest.raises(InputError, match="dropout"):
        evaluator_of(spec, tmp_path)
    evaluator = evaluator_of(spec, tmp_path, retrain=True)
    assert (evaluator.spec.base, evaluator.base.name) == (None, "base")
    assert evaluator.is_stochastic("dropout(0.2)")
