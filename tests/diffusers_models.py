"""Small models of diffusers with random weights, saved as pipelines and loaded as denoisers."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from degradations import Denoiser
from study.models.diffusers import Loaded, load_diffusers
from study.models.diffusers_files import Config
from study.models.diffusers_network import DiffusersNetwork

diffusers: Any = importlib.import_module("diffusers")  # half of it is without types
SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2"]


def shaken(make: Callable[[], nn.Module]) -> nn.Module:
    """A random model none of whose weights, or biases, is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def unet(**settings: Any) -> Any:
    small = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "num_class_embeds": 3,
        "dropout": 0.5,
    }
    return shaken(lambda: diffusers.UNet2DModel(**small | settings))


def dit(**settings: Any) -> Any:
    small = {
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 8,
        "num_embeds_ada_norm": 3,
        "dropout": 0.5,
    }
    return shaken(lambda: diffusers.DiTTransformer2DModel(**small | settings))


def vae(**settings: Any) -> Any:
    small = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "norm_num_groups": 4,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "sample_size": 8,
    }
    return shaken(lambda: diffusers.AutoencoderKL(**small | settings))


def saved(folder: Path, model: nn.Module, part: str = "unet", **schedule: Any) -> Path:
    """A pipeline's folder with this model as one of its parts, and a scheduler."""
    model.save_pretrained(folder / part)  # type: ignore[operator]
    diffusers.DDIMScheduler(**{"clip_sample": False} | schedule).save_pretrained(
        folder / "scheduler"
    )
    return folder


MODELS = {"unet": unet, "transformer": dit}


def network_of(denoiser: Denoiser) -> DiffusersNetwork:
    assert isinstance(denoiser.network, DiffusersNetwork)
    return denoiser.network


def noisy(loaded: Loaded) -> tuple[Tensor, Tensor, Tensor]:
    """x, σ and labels of four samples."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, *loaded.shape, generator=generator)
    sigma = torch.tensor([0.1, 1.0, 3.0, 10.0])
    return x * (1 + sigma.reshape(-1, 1, 1, 1) ** 2).sqrt(), sigma, torch.tensor([0, 2, 1, 0])


def config(**entries: Any) -> Config:
    wanted = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
    }
    return Config(Path("here"), wanted | {"beta_schedule": "linear"} | entries)


def plain(model: Any, loaded: Loaded, label: Tensor) -> Tensor:
    """What diffusers' own model says at x, [4, …], and the timesteps 0, 3, 500 and 999."""
    x, _, _ = noisy(loaded)
    return model(x, torch.tensor([0, 3, 500, 999]), class_labels=label).sample[:, : loaded.shape[0]]


def sited(loaded: Loaded, label: Tensor | None, denoiser: Denoiser | None = None) -> Tensor:
    """What the network of the denoiser, or of another, says at the same."""
    x, _, _ = noisy(loaded)
    return network_of(denoiser or loaded.denoiser)(
        x, torch.tensor([0.0, 3.0, 500.0, 999.0]), label, None
    )


def acting(loaded: Loaded, role: str, act: Callable[[Tensor], Tensor]) -> Tensor:
    """The network's output with an action at every site of a role."""
    changed = loaded.denoiser.with_sites(
        role, lambda site: site.then(lambda h, draws: act(h)), wanted_by="a test"
    )
    return sited(loaded, torch.tensor([0, 1, 2, 1]), changed)


def rewrite(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def load(folder: Path) -> Loaded:
    return load_diffusers(str(folder), folder)
