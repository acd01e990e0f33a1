"""Folders and names of diffusers' models: other layouts, spoilt files, and downloads."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from degradations import InputError
from study.models.diffusers import edm2_decoder, load_diffusers
from study.models.diffusers_files import WEIGHTS
from tests.diffusers_models import dit, load, rewrite, saved


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("original"), dit(), "transformer")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A pipeline's folder, to be spoilt."""
    for path in original.rglob("*.*"):
        (tmp_path / path.relative_to(original)).parent.mkdir(exist_ok=True)
        (tmp_path / path.relative_to(original)).write_bytes(path.read_bytes())
    return tmp_path


def test_older_and_other_layouts_are_the_same_network(folder: Path) -> None:
    first = load(folder)
    rewrite(
        folder / "transformer/config.json", _class_name="Transformer2DModel", num_vector_embeds=None
    )
    weights = load_file(folder / "transformer" / WEIGHTS)
    (folder / "transformer" / WEIGHTS).unlink()
    names = {
        name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors"
        for i, name in enumerate(weights)
    }
    for file in set(names.values()):
        part = {name: weights[name].half() for name in weights if names[name] == file}
        save_file(part, folder / "transformer" / file)
    (folder / "transformer" / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": names}))
    alone = folder / "alone"  # a network's own folder, the scheduler's settings in it
    (folder / "transformer").rename(alone)
    (folder / "scheduler/scheduler_config.json").rename(alone / "scheduler_config.json")
    second = load(alone)
    assert second.sha256 != first.sha256
    for name, tensor in first.denoiser.state_dict().items():
        torch.testing.assert_close(second.denoiser.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


def test_the_fingerprint_is_of_weights_and_settings(folder: Path) -> None:
    first = load(folder)
    assert load(folder).sha256 == first.sha256
    assert (first.sigma_min, first.sigma_max) == pytest.approx((0.0100005, 157.407), rel=1e-5)
    rewrite(folder / "scheduler/scheduler_config.json", prediction_type="v_prediction")
    assert load(folder).sha256 != first.sha256


def spoil_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    path = folder / "transformer" / WEIGHTS
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def entry(part: str, **entries: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / part, **entries)


def network(**entries: Any) -> Callable[[Path], None]:
    return entry("transformer/config.json", **entries)


def only_bin(folder: Path) -> None:
    (folder / "transformer" / WEIGHTS).rename(folder / "transformer/diffusion_pytorch_model.bin")


def truncated(folder: Path) -> None:
    path = folder / "transformer" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def escaping(folder: Path) -> None:
    index = folder / "transformer" / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))


def nested(folder: Path) -> None:
    (folder / "transformer" / f"{WEIGHTS}.index.json").write_text(
        json.dumps({"weight_map": {"a": [{}]}})
    )


def not_weights(folder: Path) -> None:
    (folder / "transformer" / WEIGHTS).write_bytes(b"")


BIAS = "proj_out_2.bias"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            network(_class_name="UNet2DConditionModel"),
            'found "UNet2DConditionModel"; accepted: UNet2DModel, DiT',
        ),
        (network(_class_name="../evil.Model"), "accepted: UNet2DModel, DiT"),
        (network(_class_name=["a"]), "accepted: UNet2DModel, DiT"),
        (network(norm_type="ada_norm_single"), "accepted: ada_norm_zero"),
        (network(num_layers=10**6), "'num_layers' found 1000000; accepted: at most 512"),
        (network(attention_head_dim=10**12), "'attention_head_dim' found .*at most 65536"),
        (network(norm_eps=math.inf), "'norm_eps' found Infinity"),
        (network(sample_size=2**16, patch_size=1), "tables have more than"),
        (network(sample_size="8"), "'sample_size' found \"8\"; accepted: a whole number"),
        (network(sample_size=9), "'patch_size' found 2; accepted: a divisor of sample_size, 9"),
        (network(out_channels=5), "'out_channels' found 5; accepted: 4 or 8"),
        (network(num_attention_heads=-1), "diffusers cannot build"),
        (network(activation_fn={}), "diffusers cannot build"),
        (
            network(num_layers=3),
            "the tensor 'transformer_blocks.2.*found none; accepted by the network",
        ),
        (network(num_attention_heads=3), "found shape .*; accepted by .*shape"),
        (lambda folder: (folder / "transformer/config.json").unlink(), "config.json: missing"),
        (
            lambda folder: (folder / "transformer/config.json").write_text("[1"),
            "not a readable JSON file",
        ),
        (
            lambda folder: (folder / "transformer/config.json").write_bytes(b"\xff\xfe"),
            "not a readable JSON file",
        ),
        (
            lambda folder: (folder / "transformer/config.json").write_text("[" * 10**5),
            "not a readable JSON file",
        ),
        (
            lambda folder: (folder / "transformer/config.json").write_text("[]"),
            "found list; accepted: a JSON object",
        ),
        (
            lambda folder: (folder / "scheduler/scheduler_config.json").unlink(),
            "scheduler_config.json: missing",
        ),
        (
            entry("scheduler/scheduler_config.json", prediction_type="flow"),
            "accepted: epsilon, sample, v_prediction",
        ),
        (only_bin, "missing, found diffusion_pytorch_model.bin; only safetensors"),
        (
            lambda folder: (folder / "transformer" / WEIGHTS).unlink(),
            "missing, found no weights at all",
        ),
        (truncated, "not a complete safetensors file"),
        (not_weights, "not a complete safetensors file"),
        (nested, "names the file"),
        (network(attention_bias=[0] * 65), "'attention_bias' found .*at most 64 in a list"),
        (escaping, "names the file '../outside.safetensors'"),
        (lambda folder: spoil_weights(folder, lambda t: t.pop(BIAS)), f"'{BIAS}': found none"),
        (
            lambda folder: spoil_weights(folder, lambda t: t.update(x=t[BIAS].clone())),
            "'x': found shape .*; accepted by .*none",
        ),
        (
            lambda folder: spoil_weights(folder, lambda t: t[BIAS].fill_(math.nan)),
            f"'{BIAS}' .*not finite",
        ),
        (
            lambda folder: spoil_weights(
                folder, lambda t: t.update({BIAS: t[BIAS].double() * 1e300})
            ),
            "not finite",
        ),
        (
            lambda folder: spoil_weights(folder, lambda t: t.update({BIAS: t[BIAS].int()})),
            f"'{BIAS}' .*not finite",
        ),
        (lambda folder: (folder / "vqvae").mkdir(), "accepted: an AutoencoderKL"),
        (lambda folder: (folder / "vae").mkdir(), "vae/config.json: missing"),
    ],
)
def test_a_spoilt_folder_is_rejected(
    folder: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_no_code_beside_the_weights_is_run(folder: Path) -> None:
    for name in ("transformer/model.py", "transformer/__init__.py", "pipeline.py"):
        (folder / name).write_text("raise SystemExit(7)")
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": ["pipeline", "X"], "transformer": ["model", "X"]})
    )
    rewrite(
        folder / "transformer/config.json",
        auto_map={"AutoModel": "model.X"},
        quantization_config={"a": 1},
    )
    (folder / "transformer/diffusion_pytorch_model.bin").write_bytes(b"not read")
    assert load(folder).classes == 3


def test_a_hub_name_without_a_connection_says_where_to_put_its_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cache = tmp_path / "cache"
    place = cache / "some-org" / "a-model"
    with pytest.raises(InputError, match=f"repository some-org/a-model .*into {place}\\."):
        load_diffusers("hub:some-org/a-model", cache)
    with pytest.raises(InputError, match=f"into {cache}/stabilityai/sd-vae-ft-mse"):
        edm2_decoder("hub:stabilityai/sd-vae-ft-mse", cache)
    place.mkdir(parents=True)
    for part in ("transformer", "scheduler"):
        (folder / part).rename(place / part)
    assert load_diffusers("hub:some-org/a-model", cache).classes == 3


@pytest.mark.parametrize("package", ["diffusers", "huggingface_hub"])
def test_a_missing_package_is_named_with_what_installs_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    place = str(folder) if package == "diffusers" else "hub:some-org/a-model"
    with pytest.raises(InputError, match=rf"{package} is not installed.*study\[diffusers\]'"):
        load_diffusers(place, tmp_path / "cache")


def test_a_hub_name_is_downloaded_whole_and_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[str]]] = []

    def download(name: str, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.append((name, allow_patterns))
        (folder / "transformer").rename(local_dir.parent / "t")
        local_dir.mkdir()
        (local_dir.parent / "t").rename(local_dir / "transformer")
        (folder / "scheduler").rename(local_dir / "scheduler")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    (tmp_path / "cache/org").mkdir(parents=True)
    for _ in range(2):
        assert load_diffusers("hub:org/name", tmp_path / "cache").classes == 3
    assert [name for name, _ in asked] == ["org/name"]
    assert all(pattern.endswith((".json", ".safetensors")) for pattern in asked[0][1])
    assert [path.name for path in (tmp_path / "cache/org").iterdir() if path.suffix != ".lock"] == [
        "name"
    ]


@pytest.mark.parametrize(
    "place", ["hub:name", "hub:../..", "hub:a/../b", "hub:a/b/c", "hub:", "hub:a/..", "nowhere"]
)
def test_places_that_are_none_are_rejected(tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError, match="accepted"):
        load_diffusers(place, tmp_path)
