"""Checkpoints in the layout of the published ones: loaded, converted, and rejected."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from degradations import InputError
from study.checkpoints import convert, load_base
from study.cli.main import call
from study.models.by_class import network_of_class
from tests.pickle_files import Call, dumps
from tests.public_files import ARGUMENTS, persistent, write_checkpoint


def test_the_network_has_the_tensors_of_the_pickle(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path / "x.pkl", 3, latents=False)
    expected = network_of_class("Precond", ARGUMENTS).eval()
    expected.network.load_state_dict({name: tensor.clone() for name, tensor in weights.items()})
    base = load_base(tmp_path / "x.pkl", "whatever")
    assert (base.data.shape, base.data.classes, base.latents, base.precision) == (
        (4, 8, 8),
        3,
        False,
        "fp16",
    )
    found = base.denoiser.network.state_dict()
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_converted_weights_are_those_of_the_pickle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_checkpoint(tmp_path / "x.pkl", 3)
    assert call(["convert", str(tmp_path / "x.pkl"), str(tmp_path / "y.safetensors")]) == 0
    kept = load_file(tmp_path / "y.safetensors")
    assert kept.keys() == weights.keys()
    assert all(
        torch.equal(kept[name], each) and kept[name].dtype == each.dtype
        for name, each in weights.items()
    )
    card = json.loads((tmp_path / "y.json").read_text())
    assert (card["class"], card["arguments"], card["latents"]) == ("Precond", ARGUMENTS, True)
    x = torch.randn(2, 4, 8, 8)
    a, b = (load_base(tmp_path / name, "").denoiser for name in ("x.pkl", "y.safetensors"))
    assert torch.equal(a(x, 1.0, torch.tensor([0, 2])), b(x, 1.0, torch.tensor([0, 2])))
    torch.save(dict(weights), tmp_path / "z.pt")
    (tmp_path / "z.json").write_text(
        json.dumps({key: card[key] for key in ("class", "arguments", "latents")})
    )
    assert torch.equal(load_base(tmp_path / "z.pt", "").denoiser(x, 1.0), a(x, 1.0))


def spoil(folder: Path, name: str) -> str:
    """A bad published file, and what is said of it."""
    write_checkpoint(folder / "x.pkl", 3)
    if name == "another tensor":
        arguments = {**ARGUMENTS, "model_channels": 16}
        outer = nn.Module()
        outer.unet = network_of_class("Precond", ARGUMENTS).network
        (folder / "x.pkl").write_bytes(dumps({"ema": persistent(outer, "Precond", arguments)}))
        return (
            r"x\.pkl: 'dec\.4x4_block0\.attn_proj\.weight' has shape \(16, 16, 1, 1\); "
            r"accepted: \(32, 32,"
        )
    if name == "another class":
        (folder / "x.pkl").write_bytes(dumps({"ema": persistent(nn.Module(), "Generator")}))
        return r"x\.pkl: found a network of class Generator; accepted: Precond"
    if name == "no network":
        (folder / "x.pkl").write_bytes(dumps({"G": 1}))
        return r"x\.pkl: found no network under 'ema'"
    if name == "hostile":
        (folder / "x.pkl").write_bytes(
            pickle.dumps({"ema": Call(os.system, f"touch {folder / 'marker'}")})
        )
        return r"x\.pkl: .*posix.*system"
    if name == "not finite":
        outer = nn.Module()
        outer.unet = nn.Linear(2, 1)
        outer.unet.weight.data.fill_(torch.nan)
        (folder / "x.pkl").write_bytes(dumps({"ema": persistent(outer, "Precond", ARGUMENTS)}))
        return r"x\.pkl: .*not finite"
    (folder / "x.pkl").unlink()
    return r"x\.pkl: no such file"


@pytest.mark.parametrize(
    "name", ["another tensor", "another class", "no network", "hostile", "not finite", "missing"]
)
def test_a_bad_checkpoint_is_rejected(name: str, tmp_path: Path) -> None:
    says = spoil(tmp_path, name)
    with pytest.raises(InputError, match=says):
        load_base(tmp_path / "x.pkl", "")
    with pytest.raises(InputError, match=says):
        convert(tmp_path / "x.pkl", tmp_path / "y.safetensors")
    assert {path.name for path in tmp_path.iterdir()} <= {"x.pkl"}
