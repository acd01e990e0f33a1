"""Clipping and thresholding of what a model of diffusers estimates, against diffusers itself."""

import copy
import inspect
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from degradations import Draws, InputError, Pair, parse
from study.models.diffusers_files import Config
from study.models.diffusers_limits import Clip, Threshold, limit_of
from study.models.diffusers_network import DiffusersNetwork
from study.models.diffusers_schedule import SCHEDULERS, DiscreteSchedule, noise_levels
from study.sampling.loop import sample_chunk
from study.sampling.sources import Start
from tests.diffusers_models import config, diffusers, load, noisy, saved, unet

LIMITS: list[dict[str, Any]] = [
    {"clip_sample": True},
    {"clip_sample": True, "clip_sample_range": 0.4},
    {
        "clip_sample": True,
        "thresholding": True,
        "sample_max_value": 3.0,
        "dynamic_thresholding_ratio": 0.8,
    },
]


def limited(name: str, model: Any, **settings: Any) -> tuple[Any, DiscreteSchedule]:
    """A scheduler of diffusers with 50 timesteps of training, and the denoiser of its saved
    settings, in float64."""
    theirs = getattr(diffusers, name)(num_train_timesteps=50, beta_end=0.2, **settings)
    saved = Config(Path("here"), json.loads(theirs.to_json_string()))
    network: Any = DiffusersNetwork(copy.deepcopy(model), 0).double()
    prediction = settings.get("prediction_type", "epsilon")
    denoiser = DiscreteSchedule(network, noise_levels(saved), prediction, limit_of(saved))
    theirs.alphas_cumprod = 1 / (1 + denoiser.sigmas**2)  # float64 too
    return theirs, denoiser


NOISE = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("settings", LIMITS)
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_euler_steps_with_a_limit_are_ddim_s_with_the_limited_output(
    settings: dict[str, Any], prediction: str
) -> None:
    """Over all timesteps. By default DDIM limits its estimate and not the noise estimate that
    belongs to it."""
    model = unet(num_class_embeds=None).double()
    ddim, denoiser = limited("DDIMScheduler", model, prediction_type=prediction, **settings)
    ddim.set_timesteps(50)
    x = NOISE
    for t in ddim.timesteps:
        x = ddim.step(
            model(x, t).sample, int(t), x, eta=0.0, use_clipped_model_output=True
        ).prev_sample
    sigmas = [*denoiser.sigmas[ddim.timesteps].tolist(), 0.0]
    start = Start(NOISE * math.sqrt(1 + sigmas[0] ** 2) / sigmas[0], None, Draws(0))
    torch.testing.assert_close(
        sample_chunk(denoiser, start, sigmas, "euler"), x, atol=1e-10, rtol=0
    )
    assert float(x.abs().max()) <= settings.get("clip_sample_range", 1.0)
    denoiser.limit = None
    assert not torch.allclose(sample_chunk(denoiser, start, sigmas, "euler"), x, atol=0.1)


def test_heun_steps_with_clipping_are_those_of_diffusers() -> None:
    model = unet(num_class_embeds=None)
    theirs, denoiser = limited(
        "HeunDiscreteScheduler", model, clip_sample=True, timestep_spacing="trailing"
    )
    theirs.set_timesteps(10)
    x = NOISE.float() * theirs.sigmas[0]
    for t in theirs.timesteps:
        x = theirs.step(model(theirs.scale_model_input(x, t), t).sample, t, x).prev_sample
    sigmas = [*theirs.sigmas[:-1:2].double().tolist(), 0.0]
    ours = sample_chunk(denoiser.float(), Start(NOISE.float(), None, Draws(0)), sigmas, "heun")
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"]
)
def test_solvers_of_order_1_with_thresholding_are_euler_steps(name: str) -> None:
    model = unet(num_class_embeds=None)
    settings = {
        "solver_order": 1,
        "thresholding": True,
        "sample_max_value": 2.0,
        "timestep_spacing": "trailing",
    }
    theirs, denoiser = limited(name, model, **settings)
    theirs.set_timesteps(10)
    x = NOISE.float()
    if name == "UniPCMultistepScheduler":
        theirs.disable_corrector = list(range(10))
    for t in theirs.timesteps:
        x = theirs.step(model(x, t).sample, t, x).prev_sample
    sigmas = theirs.sigmas.double().tolist()
    start = NOISE.float() * math.sqrt(1 + sigmas[0] ** 2) / sigmas[0]
    ours = sample_chunk(denoiser.float(), Start(start, None, Draws(0)), sigmas, "euler")
    # float32, in which DEIS adds up noise estimates of σ to 15
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_is_not_said_is_as_the_scheduler_has_it(name: str) -> None:
    known = inspect.signature(getattr(diffusers, name).__init__).parameters
    clips = "clip_sample" in known and known["clip_sample"].default
    assert limit_of(config(_class_name=name)) == (Clip(1.0) if clips else None)
    clipped = limit_of(config(_class_name=name, clip_sample=True, clip_sample_range=2))
    assert clipped == (Clip(2.0) if "clip_sample" in known else None)
    both = limit_of(config(_class_name=name, clip_sample=True, thresholding=True))
    assert both == (Threshold(0.995, 1.0) if "thresholding" in known else clipped and Clip(1.0))
    assert limit_of(config(_class_name=name, clip_sample=False, thresholding=None)) is None


def test_unipc_thresholds_only_what_it_estimates() -> None:
    settings = {"_class_name": "UniPCMultistepScheduler", "thresholding": True, "predict_x0": False}
    assert limit_of(config(**settings)) is None


def test_thresholding_is_that_of_diffusers() -> None:
    theirs = diffusers.DDPMScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1.7
    )
    x = NOISE.float() * torch.tensor([0.1, 0.5, 1.0, 3.0]).reshape(-1, 1, 1, 1)
    assert torch.equal(Threshold(0.9, 1.7)(x), theirs._threshold_sample(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip_sample": 1}, "'clip_sample' found 1; accepted: true or false"),
        ({"clip_sample_range": 0}, "'clip_sample_range' found 0; accepted: a number above 0"),
        ({"clip_sample_range": "1"}, "'clip_sample_range' found \"1\"; accepted: a finite number"),
        ({"thresholding": "no"}, "'thresholding' found \"no\"; accepted: true or false"),
        ({"thresholding": True, "dynamic_thresholding_ratio": 1.5}, "a number from 0 to 1"),
        (
            {"thresholding": True, "sample_max_value": -1},
            "'sample_max_value' found -1; accepted: a number above 0",
        ),
    ],
)
def test_limits_that_are_none_are_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        limit_of(config(**settings))


def test_a_loaded_denoiser_has_its_scheduler_s_limit(tmp_path: Path) -> None:
    """Each denoiser by itself: what main and guide make together is not limited again."""
    free = load(saved(tmp_path / "free", unet()))
    clipped = load(saved(tmp_path / "clipped", unet(), clip_sample=True, clip_sample_range=0.7))
    x, sigma, label = noisy(free)
    estimate = free.denoiser(x, sigma, label)
    assert float(estimate.abs().max()) > 1
    assert torch.equal(clipped.denoiser(x, sigma, label), estimate.clamp(-0.7, 0.7))
    pair = Pair(clipped.denoiser, parse("none"), parse("sigma(0.5)"))
    wanted = 3 * estimate.clamp(-0.7, 0.7) - 2 * free.denoiser(x, 1.5 * sigma, label).clamp(
        -0.7, 0.7
    )
    torch.testing.assert_close(pair.at(3.0)(x, sigma, label), wanted)
    assert clipped.sha256 != free.sha256
