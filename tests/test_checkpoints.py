"""Checkpoints from outside: what is not whole and right is rejected, by name, and nothing is
executed."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from degradations import InputError
from study.checkpoints import fill, find, load_base, recipe_of, save
from study.checkpoints.load import build
from study.data import load_data
from study.files.atomic import sha256
from study.specs import NetworkSpec, RecipeSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = NetworkSpec(8, 8, 1, 4)
    denoiser = build(network, load_data("digits"), 0.75)
    save(
        tmp_path / "b",
        denoiser,
        "denoiser",
        {"data": "digits", "sigma_data": 0.75, "network": vars(network)},
    )
    return tmp_path / "b"


def edit(folder: Path, **entries: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    card.update(entries)
    (folder / "card.json").write_text(json.dumps({k: v for k, v in card.items() if v is not None}))


def rewrite(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Change the tensors of a checkpoint and make its card agree."""
    tensors = change(load_file(folder / "weights.safetensors"))
    save_file(tensors, folder / "weights.safetensors")
    edit(folder, weights_sha256=sha256(folder / "weights.safetensors"))


def test_what_was_saved_is_loaded(folder: Path) -> None:
    base = load_base(folder, "digits")
    assert base.sha256 == sha256(folder / "weights.safetensors")
    assert "dropout" in base.denoiser.sites()


def test_the_shipped_base_is_small_and_says_how_it_was_made() -> None:
    card = find("digits", "denoiser")
    assert (card.folder / "weights.safetensors").stat().st_size <= 1.5e6
    assert card.get("made_by", str) == "study train configs/digits.yaml"
    from study.cli.config import load_spec

    assert recipe_of(card) == load_spec("configs/digits.yaml").recipe


def test_a_base_knows_its_recipe_and_what_was_held_out(folder: Path) -> None:
    base = load_base(folder, "digits")
    assert base.recipe is None
    assert base.held_out is None
    edit(folder, recipe={"data": "digits", "samples": 0.75})
    base = load_base(folder, "digits")
    assert base.recipe == RecipeSpec(network=NetworkSpec(8, 8, 1, 4), samples=0.75)
    assert base.held_out is not None
    assert torch.equal(base.held_out.samples, base.data.split(0.75)[1].samples)
    edit(folder, recipe={"data": "digits"})
    assert load_base(folder, "digits").held_out is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: (f / "weights.safetensors").unlink(), "missing"),
        (
            lambda f: (f / "card.json").unlink(),
            "accepted: a shipped card .digits.*, or a folder with a card.json",
        ),
        (lambda f: (f / "card.json").write_text("{"), "not a card in JSON"),
        (lambda f: (f / "card.json").write_text("[]"), "not an object"),
        (lambda f: (f / "card.json").write_text("[" * 100_000), "not a card in JSON"),
        (lambda f: (f / "card.json").write_bytes(b"\xff\xfe"), "not a card in JSON"),
        (lambda f: edit(f, kind="classifier"), "the card of a denoiser"),
        (lambda f: edit(f, data="fractal"), "'fractal'.*'digits'"),
        (lambda f: edit(f, network={"width": 10**9}), "network.width"),
        (lambda f: edit(f, network={"depth": 3}), "depth"),
        (
            lambda f: edit(f, network={"kind": "unet"}),
            "network.kind: found 'unet'; accepted: adm, ddpmpp, edm2, mlp, transformer",
        ),
        (
            lambda f: edit(f, network={"kind": "transformer", "width": 30}),
            "network.width: found 30.*multiple of.*4",
        ),
        (lambda f: edit(f, recipe={"samples": 0}), "recipe.samples: found 0"),
        (lambda f: edit(f, recipe={"depth": 3}), "recipe is not valid.*depth"),
        (lambda f: edit(f, network=None), "'network': found nothing"),
        (lambda f: edit(f, sigma_data="x"), "'sigma_data': found 'x'; accepted: type float"),
        (lambda f: edit(f, sigma_data=-1.0), "above 0"),
        (lambda f: edit(f, weights_sha256=None), "'weights_sha256': found nothing"),
        (
            lambda f: (f / "weights.safetensors").write_bytes(b"PK\x03\x04"),
            "the file is damaged or another one",
        ),
        (
            lambda f: rewrite(f, lambda t: {k: v for k, v in t.items() if "leave" not in k}),
            "the tensor 'network.blocks",
        ),
        (lambda f: rewrite(f, lambda t: {**t, "extra": torch.zeros(1)}), "a tensor 'extra'"),
        (
            lambda f: rewrite(f, lambda t: {k: v[..., :1].clone() for k, v in t.items()}),
            "has shape",
        ),
        (lambda f: rewrite(f, lambda t: {k: v.half() for k, v in t.items()}), "float16"),
        (lambda f: rewrite(f, lambda t: {k: v * torch.nan for k, v in t.items()}), "not finite"),
    ],
)
def test_bad_checkpoints_are_rejected(folder: Path, change, says: str) -> None:  # type: ignore[no-untyped-def]
    change(folder)
    with pytest.raises(InputError, match=says):
        load_base(folder, "digits")


def test_truncated_weights_with_an_agreeing_card_are_rejected(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    edit(folder, weights_sha256=sha256(path))
    with pytest.raises(InputError, match="not a complete safetensors"):
        load_base(folder, "digits")


def test_a_pickle_in_the_place_of_weights_is_not_executed(folder: Path) -> None:
    marker = folder / "executed"

    class Attack:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return Path.touch, (marker,)

    path = folder / "weights.safetensors"
    path.write_bytes(pickle.dumps(Attack()))
    edit(folder, weights_sha256=sha256(path))
    with pytest.raises(InputError, match="not a complete safetensors"):
        load_base(folder, "digits")
    assert not marker.exists()


def test_exact_needs_a_density() -> None:
    assert load_base("exact", "fractal").denoiser is not None
    with pytest.raises(InputError, match="no density"):
        load_base("exact", "digits")


def test_saving_leaves_no_parts_behind(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == {"card.json", "weights.safetensors"}
    denoiser = build(NetworkSpec(8, 8, 1, 4), load_data("digits"), 0.75)
    fill(denoiser, find(folder, "denoiser"))
    assert not denoiser.training


def test_a_base_for_classifier_free_guidance_answers_without_labels() -> None:
    """Its answers without labels are nearer to the data than those of the base that never saw a
    sample without one, and with labels nearly as near."""
    noise = torch.randn(1797, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    error = {}
    for name in ("digits", "digits-cfg"):
        base = load_base(name, "digits")
        x = base.data.samples + noise
        for label in (base.data.labels, None):
            gap = (base.denoiser(x, 1.0, label) - base.data.samples) ** 2
            error[name, label is None] = float(gap.mean())
    assert error["digits-cfg", True] < 0.8 * error["digits", True]
    assert error["digits-cfg", False] < 1.2 * error["digits", False]
    assert error["digits-cfg", False] < error["digits-cfg", True]
