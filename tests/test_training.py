import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from degradations import Refused
from study.checkpoints import load_base
from study.models import ExactGaussian
from study.modules.train import STATE, TrainDenoiser, train
from study.specs import NetworkSpec, RecipeSpec
from study.training import edm_loss, exponent, log_normal, update

TINY = RecipeSpec(data="digits", network=NetworkSpec(16, 24, 2, 8), steps=30, batch=16, seed=3)


def test_noise_levels_are_log_normal() -> None:
    sigma = log_normal(100_000, -0.6, 1.3, torch.Generator().manual_seed(0)).log()
    assert float(sigma.mean()) == pytest.approx(-0.6, abs=4 * 1.3 / math.sqrt(1e5))
    assert float(sigma.std()) == pytest.approx(1.3, rel=0.01)


def test_loss_of_the_exact_denoiser_is_the_posterior_variance() -> None:
    """E|D − y|² = s²σ²/(s² + σ²) an element for Gaussian data, times λ = (σ² + σd²)/(σσd)²: 1 where σd = s."""
    n, s = 200_000, 0.6
    generator = torch.Generator().manual_seed(0)
    y, noise = s * torch.randn(n, 2, generator=generator), torch.randn(n, 2, generator=generator)
    sigma = log_normal(n, -0.6, 1.3, generator)
    loss = float(edm_loss(ExactGaussian(s), y, noise, sigma, None, s))
    assert loss == pytest.approx(1, abs=4 * math.sqrt(2 / (2 * n)))
    assert float(edm_loss(ExactGaussian(1.5 * s), y, noise, sigma, None, s)) > 1.05


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.2])
def test_ema_profile_has_the_asked_width(sigma_rel: float) -> None:
    """The weight that each step's value has in the average, found by averaging unit vectors, has the relative width."""
    steps = 2000
    average, gamma = torch.zeros(steps, dtype=torch.float64), exponent(sigma_rel)
    for t in range(1, steps + 1):
        now = torch.zeros(steps, dtype=torch.float64)
        now[t - 1] = 1
        update([average], [now], t, gamma)
    time = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    mean = float(average @ time)
    assert float(average.sum()) == pytest.approx(1)
    assert math.sqrt(float(average @ (time - mean) ** 2)) == pytest.approx(sigma_rel, rel=0.01)
    density = (gamma + 1) * time**gamma / steps
    np.testing.assert_allclose(average[500:].numpy(), density[500:].numpy(), rtol=0.05)


def test_ema_width_is_checked() -> None:
    with pytest.raises(Refused, match="width"):
        exponent(0.4)


def test_training_lowers_the_loss_and_its_card_loads(tmp_path: Path) -> None:
    recipe = replace(TINY, steps=400, batch=64, lr=5e-3)
    folder = train(recipe, tmp_path / "base", "a test", progress=False)
    base = load_base(folder, "digits")
    generator = torch.Generator().manual_seed(9)
    y, label = base.data.samples[:500], base.data.labels[:500] if base.data.labels is not None else None
    noise, sigma = torch.randn(y.shape, generator=generator), log_normal(500, -0.6, 1.3, generator)
    fresh = TrainDenoiser(recipe, base.data).denoiser
    with torch.no_grad():
        trained, before = (float(edm_loss(d, y, noise, sigma, label, 0.75)) for d in (base.denoiser, fresh))
    assert trained < 0.75 * before
    card = json.loads((folder / "card.json").read_text())
    assert card["made_by"] == "a test"
    assert card["recipe"]["steps"] == 400
    assert not any(p.requires_grad for p in base.denoiser.parameters())


def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(TINY, tmp_path / "whole", "", progress=False, save_every=10)
    step = TrainDenoiser.training_step

    def stop_at_17(self: TrainDenoiser, batch: int, index: int) -> torch.Tensor:
        if self.global_step == 17:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(TrainDenoiser, "training_step", stop_at_17)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "parts", "", progress=False, save_every=10)
    assert not (tmp_path / "parts" / "card.json").exists()
    monkeypatch.setattr(TrainDenoiser, "training_step", step)
    parts = train(TINY, tmp_path / "parts", "", progress=False, save_every=10)
    assert (parts / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


def test_state_is_read_as_weights_only(tmp_path: Path) -> None:
    folder = train(replace(TINY, steps=5), tmp_path, "", progress=False)
    state = torch.load(folder / STATE, weights_only=True)
    assert state["global_step"] == 5
