import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from degradations import InputError
from study.metrics import dinov2
from study.metrics.dinov2 import DINOV2, DinoV2, load_dinov2

small = partial(DinoV2, 16, 2, 2, 9)


def weights() -> dict[str, torch.Tensor]:
    generator, wanted = torch.Generator().manual_seed(0), small().state_dict()
    return {
        name: torch.randn(tensor.shape, generator=generator) * (1 if name == "pos_embed" else 0.3)
        for name, tensor in sorted(wanted.items())
    }


def test_features_are_those_of_the_public_code() -> None:
    """The numbers are facebookresearch/dinov2's with these weights, after EDM2's resizing and
    normalising."""
    network, images = (
        small(),
        torch.rand(2, 3, 400, 300, generator=torch.Generator().manual_seed(1)).mul(256).floor(),
    )
    network.load_state_dict(weights())
    with torch.inference_mode():
        found = network(images)
    expected = [
        [0.8075851, -0.4000176, 0.5911222, -0.2345415],
        [0.8067834, -0.4001687, 0.5908713, -0.2489369],
    ]
    torch.testing.assert_close(found[:, :4], torch.tensor(expected), rtol=0, atol=1e-5)


def test_its_tensors_are_the_published_file_s() -> None:
    with torch.device("meta"):
        tensors = DinoV2().state_dict()
    block = {
        f"{a}.{b}"
        for a in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "norm1", "norm2")
        for b in ("weight", "bias")
    } | {"ls1.gamma", "ls2.gamma"}
    names = {f"blocks.{i}.{name}" for i in range(24) for name in block} | {
        "cls_token",
        "pos_embed",
        "mask_token",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        "norm.weight",
        "norm.bias",
    }
    assert tensors.keys() == names
    assert tensors["pos_embed"].shape == (1, 1370, 1024)
    assert tensors["mask_token"].shape == (1, 1024)
    assert tensors["blocks.23.attn.qkv.weight"].shape == (3072, 1024)
    assert DINOV2.size is not None
    # names and zip entries
    assert 0 < DINOV2.size - sum(4 * tensor.numel() for tensor in tensors.values()) < 2**18


def test_a_file_is_read(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(dinov2, "DinoV2", small)
    torch.save(weights(), tmp_path / "w.pth")
    network = load_dinov2(tmp_path / "w.pth")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    other, x = small(), torch.rand(2, 3, 20, 20) * 255
    other.load_state_dict(weights())
    with torch.inference_mode():
        assert torch.equal(network(x), other(x))


def test_bad_files_are_rejected(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(dinov2, "DinoV2", small)
    path, good = tmp_path / "w.pth", weights()
    bad: dict[str, Any] = {
        "missing tensor 'norm.bias'": {
            name: tensor for name, tensor in good.items() if name != "norm.bias"
        },
        "unknown tensor 'head.weight'": good | {"head.weight": torch.zeros(2)},
        r"'pos_embed' is .* \[1, 10, 16\]": good | {"pos_embed": torch.zeros(1, 10, 16)},
        "'norm.bias' is torch.float16": good | {"norm.bias": good["norm.bias"].half()},
        "'norm.bias' has entries that are not finite": good
        | {"norm.bias": torch.full((16,), torch.nan)},
        "holds a list; accepted: a state dict, tensors by name": [1, 2],
        "under 'norm.bias' it holds a str, not a tensor; accepted:": good | {"norm.bias": "x"},
    }
    for says, content in bad.items():
        torch.save(content, path)
        with pytest.raises(InputError, match=says):
            load_dinov2(path)
    torch.save(good, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="not a complete file of torch"):
        load_dinov2(path)
    path.write_bytes(pickle.dumps(Program()))
    with pytest.raises(
        InputError, match="not supported; nothing was executed; accepted: a state dict"
    ):
        load_dinov2(path)
    assert Program.ran == 0


class Program:
    ran = 0

    def __reduce__(self) -> Any:
        return _run, ()


def _run() -> None:
    Program.ran += 1
