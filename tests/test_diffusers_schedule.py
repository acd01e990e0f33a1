"""Noise levels, timesteps and predictions of diffusers' schedulers, against diffusers itself."""

import copy
import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from degradations import Draws, InputError
from degradations.condition import Condition
from study.models import Network
from study.models.diffusers_network import DiffusersNetwork
from study.models.diffusers_schedule import SCHEDULERS, DiscreteSchedule, noise_levels
from study.sampling.loop import sample_chunk
from study.sampling.sources import Start
from tests.diffusers_models import SCHEDULES, config, diffusers, unet


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("dtype", "spacing", "close"),
    [(torch.float32, "leading", 2e-5), (torch.float64, "trailing", 1e-12)],
)
def test_euler_steps_are_the_deterministic_sampler_of_diffusers(
    schedule: str, prediction: str, dtype: torch.dtype, spacing: str, close: float
) -> None:
    model = unet(num_class_embeds=None)
    settings = {
        "beta_schedule": schedule,
        "prediction_type": prediction,
        "timestep_spacing": spacing,
    }
    network: Any = DiffusersNetwork(copy.deepcopy(model), 0).to(dtype)
    denoiser = DiscreteSchedule(network, noise_levels(config(**settings)), prediction)
    ddim = diffusers.DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=True)
    if dtype == torch.float64:
        # From the last timestep, where a float32 has too few digits: cosine's σ is 2·10⁴ there.
        model, ddim.alphas_cumprod = model.double(), 1 / (1 + denoiser.sigmas**2)
    ddim.set_timesteps(10)
    x = noise = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=dtype)
    for t in ddim.timesteps:
        x = ddim.step(model(x, t).sample, int(t), x, eta=0.0).prev_sample

    told: list[Tensor] = []
    network.model.register_forward_pre_hook(lambda _, args: told.append(args[1]))
    sigmas = [*denoiser.sigmas[ddim.timesteps].tolist(), 0.0]
    start = noise * math.sqrt(1 + sigmas[0] ** 2) / sigmas[0]
    ours = sample_chunk(denoiser, Start(start, None, Draws(0)), sigmas, "euler")
    assert torch.equal(torch.stack(told), ddim.timesteps[:, None].expand(-1, 4).to(dtype))
    assert x.std() > 0.3
    torch.testing.assert_close(ours, x, atol=close * float(x.abs().max()), rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        *({"beta_schedule": schedule} for schedule in SCHEDULES),
        {"beta_start": 0.001, "beta_end": 0.01},
        {"trained_betas": [0.1, 0.3, 0.2], "num_train_timesteps": 3},
        {"num_train_timesteps": 50},
    ],
)
def test_noise_levels_are_those_of_diffusers(settings: dict[str, Any]) -> None:
    theirs = diffusers.DDPMScheduler(**settings).alphas_cumprod.double()
    torch.testing.assert_close(
        noise_levels(config(**settings)), ((1 - theirs) / theirs).sqrt(), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("schedule", [*SCHEDULES, "sigmoid", "laplace", "exp", "linearly"])
def test_accepted_are_the_schedules_that_a_scheduler_of_diffusers_has(
    name: str, schedule: str
) -> None:
    """And with them ᾱ is that of diffusers, which rounds to float32."""
    settings = {"beta_schedule": schedule, "num_train_timesteps": 200}
    try:
        theirs = getattr(diffusers, name)(**settings).alphas_cumprod.double()
    except NotImplementedError:
        with pytest.raises(InputError, match="'beta_schedule' found"):
            noise_levels(config(_class_name=name, **settings))
        return
    except ImportError:  # DPMSolverSDEScheduler wants another package
        pytest.skip(f"{name} cannot be made here")
    found = 1 / (1 + noise_levels(config(_class_name=name, **settings, **_defaults(name))) ** 2)
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-6)


def _defaults(name: str) -> dict[str, Any]:
    """What a scheduler has for betas where its settings say nothing."""
    known = inspect.signature(getattr(diffusers, name).__init__).parameters
    return {key: known[key].default for key in ("beta_start", "beta_end")}


def test_a_schedule_that_ends_in_pure_noise_ends_before() -> None:
    theirs = diffusers.DDIMScheduler(rescale_betas_zero_snr=True).alphas_cumprod.double()[:-1]
    found = noise_levels(config(rescale_betas_zero_snr=True))
    assert len(found) == 999
    torch.testing.assert_close(found, ((1 - theirs) / theirs).sqrt(), rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"beta_schedule": "exp"},
            "'beta_schedule' found \"exp\"; accepted: linear, scaled_linear",
        ),
        (
            {"beta_schedule": "sigmoid", "_class_name": "DDIMScheduler"},
            "'beta_schedule' found \"sigmoid\"",
        ),
        (
            {"beta_schedule": "laplace", "_class_name": "EulerDiscreteScheduler"},
            "'beta_schedule' found \"laplace\"",
        ),
        (
            {"_class_name": "FlowMatchEulerDiscreteScheduler"},
            "'_class_name' found \"Flow.*accepted: DDPMScheduler",
        ),
        ({"num_train_timesteps": 10**9}, "a whole number from 2 to"),
        ({"num_train_timesteps": True}, "a whole number from 2 to"),
        ({"beta_start": "0.1"}, "'beta_start' found .*a finite number"),
        ({"beta_end": math.nan}, "'beta_end' found NaN.*a finite number"),
        ({"beta_end": 1.5}, "between 0 and 1"),
        ({"beta_start": -0.1}, "between 0 and 1"),
        ({"beta_start": 1e-12, "beta_end": 1e-30}, "do not rise"),
        ({"trained_betas": [0.1, 0.2]}, "a list of num_train_timesteps = 1000 numbers"),
        ({"trained_betas": "x"}, "a list of num_train_timesteps"),
    ],
)
def test_settings_of_no_schedule_are_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        noise_levels(config(**settings))


class Told(Network):
    """Says what it is told to, and keeps what it was given."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        self.x, self.t = x, c_noise
        return self.answer


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_a_true_prediction_gives_the_clean_sample(prediction: str) -> None:
    y, n = torch.randn(
        2, 5, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    sigma = torch.tensor([0.02, 0.5, 1.0, 7.0, 100.0], dtype=torch.float64)
    angle = sigma.atan().reshape(-1, 1, 1, 1)  # √ᾱ = cos, √(1 − ᾱ) = sin
    answer = {"epsilon": n, "sample": y, "v_prediction": angle.cos() * n - angle.sin() * y}[
        prediction
    ]
    denoiser = DiscreteSchedule(network := Told(answer), noise_levels(config()), prediction)
    found = denoiser(y + angle.tan() * n, sigma)
    torch.testing.assert_close(found, y, rtol=0, atol=1e-11)
    torch.testing.assert_close(network.x, angle.cos() * y + angle.sin() * n)
    with pytest.raises(InputError, match="accepted: epsilon"):
        DiscreteSchedule(network, noise_levels(config()), "flow_prediction")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_noise_level_of_the_table_is_its_timestep(schedule: str, dtype: torch.dtype) -> None:
    sigmas = noise_levels(config(beta_schedule=schedule))
    denoiser = DiscreteSchedule(network := Told(torch.zeros(1)), sigmas, "epsilon")
    denoiser(torch.zeros(1000, 1, dtype=dtype), sigmas)
    assert torch.equal(network.t, torch.arange(1000, dtype=dtype))
    between = (sigmas[:-1].log() * 0.75 + sigmas[1:].log() * 0.25).exp()
    denoiser(torch.zeros(999, 1, dtype=torch.float64), between)
    torch.testing.assert_close(
        network.t, torch.arange(999, dtype=torch.float64) + 0.25, rtol=0, atol=1e-8
    )
    denoiser(torch.zeros(3, 1, dtype=dtype), torch.tensor([0.0, 1e-9, 1e9]))
    assert network.t.tolist() == [0, 0, 999]
