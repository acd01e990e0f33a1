"""U-Nets of diffusers: all kinds of settings, old names of weights, and what is rejected."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from degradations import InputError
from study.models.diffusers import DENOISERS, load_diffusers
from study.models.diffusers_files import WEIGHTS
from tests.diffusers_models import (
    diffusers,
    load,
    network_of,
    noisy,
    plain,
    rewrite,
    saved,
    sited,
    unet,
)


@pytest.mark.parametrize(
    "settings",
    [
        {"time_embedding_type": "learned", "num_train_timesteps": 1000},
        {"class_embed_type": "timestep"},
        {
            "num_class_embeds": None,
            "out_channels": 6,
            "center_input_sample": True,
            "resnet_time_scale_shift": "scale_shift",
        },
        {"downsample_type": "resnet", "upsample_type": "resnet", "sample_size": (4, 8)},
        {
            "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
            "norm_num_groups": 32,
            "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
            "block_out_channels": (32, 64),
        },
        {
            "down_block_types": ("ResnetDownsampleBlock2D", "DownBlock2D"),
            "mid_block_type": None,
            "up_block_types": ("UpBlock2D", "ResnetUpsampleBlock2D"),
        },
    ],
)
def test_u_nets_of_every_kind_are_those_of_diffusers(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = unet(**settings)
    loaded = load_diffusers(str(saved(tmp_path, model)), tmp_path)
    label = torch.tensor([0, 1, 2, 1]) if loaded.classes else None
    assert torch.equal(sited(loaded, label), plain(model, loaded, label))  # type: ignore[arg-type]
    assert torch.equal(sited(loaded, label, copy.deepcopy(loaded.denoiser)), sited(loaded, label))
    x, sigma, _ = noisy(loaded)
    network_of(loaded.denoiser).use(torch.bfloat16)
    assert loaded.denoiser(x, sigma, label).isfinite().all()


def test_attention_by_its_old_names(tmp_path: Path) -> None:
    first = load(saved(tmp_path, unet()))
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in load_file(tmp_path / "unet" / WEIGHTS).items():
        for now, then in new.items():
            name = name.replace(f".{now}.", f".{then}.")
        old[name] = tensor
    save_file(old, tmp_path / "unet" / WEIGHTS)
    assert any("proj_attn" in name for name in old)
    second = load(tmp_path).denoiser.state_dict()
    assert all(
        torch.equal(second[name], tensor) for name, tensor in first.denoiser.state_dict().items()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_size": None}, "'sample_size' found null"),
        ({"sample_size": 9}, "multiples of 2"),
        ({"time_embedding_type": "fourier"}, "accepted: positional, learned"),
        ({"class_embed_type": "identity"}, "accepted: timestep"),
        (
            {"class_embed_type": "timestep", "num_class_embeds": None},
            "'num_class_embeds' found null",
        ),
        (
            {"down_block_types": ["DownBlock2D", "KDownBlock2D"]},
            "a list of DownBlock2D, AttnDownBlock2D",
        ),
        ({"up_block_types": "UpBlock2D"}, "a list of UpBlock2D"),
        (
            {"time_embedding_type": "learned", "num_train_timesteps": 999},
            "1000 or more, the timesteps of",
        ),
    ],
)
def test_u_nets_that_are_no_denoisers_of_this_kind_are_rejected(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    diffusers.DDIMScheduler().save_pretrained(tmp_path / "scheduler")
    unet().save_config(tmp_path / "unet")  # the settings are looked at before the weights
    rewrite(tmp_path / "unet/config.json", **settings)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_the_accepted_classes_are_of_diffusers() -> None:
    assert all(hasattr(diffusers, name) for name in DENOISERS.values())
