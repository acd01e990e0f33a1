"""The decoders of latents, against diffusers' autoencoder."""

from pathlib import Path

import pytest
import torch

from degradations import InputError
from study.models.diffusers import edm2_decoder, load_diffusers
from tests.diffusers_models import dit, saved, vae


def test_the_decoder_of_latent_diffusion(tmp_path: Path) -> None:
    autoencoder = vae(scaling_factor=0.25, shift_factor=0.5)
    saved(tmp_path, dit(), "transformer")
    autoencoder.save_pretrained(tmp_path / "vae")
    decoder = load_diffusers(str(tmp_path), tmp_path).decoder
    assert decoder is not None
    latents = torch.randn(11, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels = autoencoder.decode(latents / 0.25 + 0.5).sample
    expected = (
        ((pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255).round().astype("uint8")
    )
    found = decoder(latents)
    assert found.dtype == torch.uint8
    assert found.shape == (11, 3, 8, 8)
    difference = (found.int() - torch.from_numpy(expected).permute(0, 3, 1, 2).int()).abs()
    assert difference.max() <= 1  # at a rounding's edge
    assert difference.float().mean() < 0.002
    assert found.float().std() > 5


def test_the_decoder_of_edm2(tmp_path: Path) -> None:
    autoencoder = vae()
    autoencoder.save_pretrained(tmp_path)
    decoder = edm2_decoder(str(tmp_path), tmp_path, batch=4)
    batches: list[int] = []
    decoder.vae.decoder.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    raw = 3 * torch.randn(10, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([5.81, 3.25, 0.12, -2.15]), torch.tensor([4.17, 4.62, 3.71, 3.28])
    latents = (raw - mean.reshape(4, 1, 1)) / std.reshape(4, 1, 1) / 2  # of standard deviation ½
    expected = (autoencoder.decode(raw).sample.clamp(0, 1) * 255).floor()
    difference = (decoder(latents) - expected).abs()
    assert batches == [4, 4, 2]
    assert difference.max() <= 1
    assert difference.mean() < 0.002
    assert decoder(latents).float().std() > 5
    with pytest.raises(InputError, match="batch 0"):
        edm2_decoder(str(tmp_path), tmp_path, batch=0)
    vae(latent_channels=3).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="'latent_channels' found 3; accepted: 4"):
        edm2_decoder(str(tmp_path), tmp_path)
