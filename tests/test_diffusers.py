"""diffusers' models as denoisers: against diffusers itself, against closed forms, and out of
folders that are bad."""

import copy
import importlib
import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from degradations import Denoiser, Draws, InputError, Pair, Site, parse
from degradations.condition import Condition
from degradations.names import kinds
from study.models import Network
from study.models.diffusers import DENOISERS, Loaded, edm2_decoder, load_diffusers
from study.models.diffusers_files import WEIGHTS, Config
from study.models.diffusers_limits import Clip, Threshold, limit_of
from study.models.diffusers_network import DiffusersNetwork
from study.models.diffusers_schedule import SCHEDULERS, DiscreteSchedule, noise_levels
from study.sampling.loop import sample_chunk
from study.sampling.sources import Start

diffusers: Any = importlib.import_module("diffusers")  # half of it is without types

ROLES = {"attention", "block", "dropout", "label", "map"}
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


@pytest.fixture(scope="module", params=MODELS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Loaded]:
    """A model as diffusers has it, and as a denoiser."""
    model, folder = MODELS[request.param](), tmp_path_factory.mktemp(request.param)
    return model, load_diffusers(str(saved(folder, model, request.param)), folder)


def network_of(denoiser: Denoiser) -> DiffusersNetwork:
    assert isinstance(denoiser.network, DiffusersNetwork)
    return denoiser.network


def noisy(loaded: Loaded) -> tuple[Tensor, Tensor, Tensor]:
    """x, σ and labels of four samples."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, *loaded.shape, generator=generator)
    sigma = torch.tensor([0.1, 1.0, 3.0, 10.0])
    return x * (1 + sigma.reshape(-1, 1, 1, 1) ** 2).sqrt(), sigma, torch.tensor([0, 2, 1, 0])


# --- the schedule


def config(**entries: Any) -> Config:
    wanted = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
    }
    return Config(Path("here"), wanted | {"beta_schedule": "linear"} | entries)


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
            "'beta_schedule' found \"exp\"; accepted is linear, scaled_linear",
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
            "'_class_name' found \"Flow.*accepted is DDPMScheduler",
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
def test_settings_of_no_schedule_are_refused(settings: dict[str, Any], message: str) -> None:
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
    with pytest.raises(InputError, match="accepted are epsilon"):
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


# --- clipping and thresholding

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
        ({"clip_sample": 1}, "'clip_sample' found 1; accepted is true or false"),
        ({"clip_sample_range": 0}, "'clip_sample_range' found 0; accepted is a number above 0"),
        (
            {"clip_sample_range": "1"},
            "'clip_sample_range' found \"1\"; accepted is a finite number",
        ),
        ({"thresholding": "no"}, "'thresholding' found \"no\"; accepted is true or false"),
        ({"thresholding": True, "dynamic_thresholding_ratio": 1.5}, "a number from 0 to 1"),
        (
            {"thresholding": True, "sample_max_value": -1},
            "'sample_max_value' found -1; accepted is a number above 0",
        ),
    ],
)
def test_limits_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
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


# --- the networks and their sites


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


def test_without_actions_the_network_is_bit_for_bit_that_of_diffusers(
    pair: tuple[Any, Loaded],
) -> None:
    model, loaded = pair
    label = torch.tensor([0, 1, 2, 1])
    assert loaded.denoiser.sites() == ROLES
    assert loaded.classes == 3
    assert loaded.shape == (model.config.in_channels, 8, 8)
    assert loaded.decoder is None
    assert torch.equal(sited(loaded, label), plain(model, loaded, label))
    assert plain(model, loaded, label).std() > 0.05


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


def test_an_attention_map_that_is_made_gives_what_the_fast_kernel_gives(
    pair: tuple[Any, Loaded],
) -> None:
    maps: list[Tensor] = []

    def keep(attention: Tensor) -> Tensor:
        maps.append(attention)
        return attention

    found = acting(pair[1], "attention", keep)
    torch.testing.assert_close(found, sited(pair[1], torch.tensor([0, 1, 2, 1])), atol=2e-6, rtol=0)
    heads = 2 if pair[1].shape[0] == 4 else 4
    assert {a.shape for a in maps} == {(4, heads, 16, 16)}
    for a in maps:
        torch.testing.assert_close(a.sum(dim=-1), torch.ones(4, heads, 16))


def silenced(model: Any, names: tuple[str, ...], bias: bool) -> Any:
    """A copy with the weights, and perhaps the biases, of certain layers at zero."""
    model = copy.deepcopy(model)
    for name, layer in model.named_modules():
        if name.endswith(names):
            layer.weight.data.zero_()
            if bias:
                layer.bias.data.zero_()
    return model


def test_a_block_site_is_the_whole_branch_and_a_dropout_site_what_enters_its_last_layer(
    pair: tuple[Any, Loaded],
) -> None:
    model, loaded = pair
    label = torch.tensor([0, 1, 2, 1])
    without = silenced(model, ("conv2", "to_out.0", "ff.net.2"), bias=True)
    torch.testing.assert_close(
        acting(loaded, "block", torch.zeros_like), plain(without, loaded, label)
    )
    dropped = silenced(model, ("conv2", "ff.net.2"), bias=False)
    torch.testing.assert_close(
        acting(loaded, "dropout", torch.zeros_like), plain(dropped, loaded, label)
    )


def test_a_map_site_is_what_enters_a_block_by_rows_and_columns(pair: tuple[Any, Loaded]) -> None:
    model, loaded = pair
    model = copy.deepcopy(model)
    # tokens, with the rows of their 4 × 4 grid reversed
    order = torch.arange(16).reshape(4, 4).flip(0).flatten()
    for module in model.modules():
        if type(module).__name__ == "ResnetBlock2D":
            module.register_forward_pre_hook(lambda _, args: (args[0].flip(2), *args[1:]))
        if type(module).__name__ == "BasicTransformerBlock":
            module.register_forward_pre_hook(lambda _, args: (args[0][:, order], *args[1:]))
    label = torch.tensor([0, 1, 2, 1])
    assert torch.equal(acting(loaded, "map", lambda h: h.flip(2)), plain(model, loaded, label))
    assert not torch.equal(plain(model, loaded, label), sited(loaded, label))


STRENGTHS = {"quantize": 4, "input-quantize": 4}


@pytest.mark.parametrize("kind", kinds())
def test_every_degradation_acts_and_leaves_the_base_alone(
    pair: tuple[Any, Loaded], kind: str
) -> None:
    base = pair[1].denoiser
    x, sigma, label = noisy(pair[1])
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    found = base(x, sigma, label)
    degradation = parse(f"{kind}({STRENGTHS.get(kind, 0.5)})")
    degraded = degradation(base)
    worse = degraded(x, sigma, label, Draws(0))
    assert worse.isfinite().all()
    assert not torch.equal(worse, found)
    assert torch.equal(worse, degradation(base)(x, sigma, label, Draws(0)))
    twice = degradation(degraded)
    assert not torch.equal(twice(x, sigma, label, Draws(0)), found)
    assert torch.equal(worse, degraded(x, sigma, label, Draws(0)))
    assert torch.equal(base(x, sigma, label), found)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    identity = kinds()[kind](kinds()[kind].identity)(base)
    assert torch.equal(identity(x, sigma, label, Draws(0)), found)


def test_a_random_degradation_without_draws_is_refused_and_leaves_none_behind(
    pair: tuple[Any, Loaded],
) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    degraded = parse("dropout(0.5)")(base)
    with pytest.raises(InputError, match="draws"):
        degraded(x, sigma, label)

    def fails(h: Tensor, draws: Draws | None) -> Tensor:
        assert draws is not None
        raise ZeroDivisionError

    failing = base.with_sites("block", lambda site: site.then(fails), wanted_by="a test")
    with pytest.raises(ZeroDivisionError):
        failing(x, sigma, label, Draws(0))
    calls = [network_of(denoiser).call for denoiser in (base, degraded, failing)]
    assert len(set(map(id, calls))) == 3  # each clone has its own
    assert all((call.draws, call.label) == (None, None) for call in calls)


def test_a_call_within_a_call_keeps_its_own_draws(pair: tuple[Any, Loaded]) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    seen: list[Draws | None] = []

    def nested(h: Tensor, draws: Draws | None) -> Tensor:
        seen.append(draws)
        if len(seen) == 1:
            outer(x, sigma, label, inner_draws)
        return h

    outer_draws, inner_draws = Draws(0), Draws(1)
    outer = base.with_sites("map", lambda site: site.then(nested), wanted_by="a test")
    outer(x, sigma, label, outer_draws)
    blocks = len(seen) // 2
    assert seen == [outer_draws] + [inner_draws] * blocks + [outer_draws] * (blocks - 1)
    assert blocks >= 2


def test_shared_draws_are_nested_and_independent_ones_are_not(pair: tuple[Any, Loaded]) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    kept: dict[str, Tensor] = {}

    def first_mask(name: str) -> Callable[[Site], Site]:
        def look(h: Tensor, draws: Draws | None) -> Tensor:
            kept.setdefault(name, h != 0)
            return h

        return lambda site: site.then(look)

    for coupling in ("shared", "independent"):
        two = Pair(base, parse("dropout(0.3)"), parse("dropout(0.6)"), coupling)
        guided = two.at(2.0)
        kept.clear()
        guided.main = two.main.with_sites("dropout", first_mask("main"), wanted_by="a test")
        guided.guide = two.guide.with_sites("dropout", first_mask("guide"), wanted_by="a test")
        guided(x, sigma, label, Draws(0))
        assert 0.6 < kept["main"].float().mean() < 0.8
        assert 0.3 < kept["guide"].float().mean() < 0.5
        assert (coupling == "shared") == bool((kept["guide"] <= kept["main"]).all())


def test_a_sample_without_a_label_gets_no_class(pair: tuple[Any, Loaded]) -> None:
    model, loaded = pair
    none = torch.full((4,), -1)
    if isinstance(model, diffusers.UNet2DModel):
        model = copy.deepcopy(model)
        model.class_embedding.weight.data[0] = 0
        expected = plain(model, loaded, torch.zeros(4, dtype=torch.long))
    else:
        expected = plain(model, loaded, torch.full((4,), 3))
    assert torch.equal(sited(loaded, none), expected)
    assert torch.equal(sited(loaded, None), expected)
    mixed = sited(loaded, torch.tensor([2, -1, -1, 1]))
    torch.testing.assert_close(mixed[1:3], expected[1:3])
    torch.testing.assert_close(
        mixed[[0, 3]], plain(pair[0], loaded, torch.tensor([2, 0, 0, 1]))[[0, 3]]
    )
    assert not torch.allclose(mixed[0], expected[0])
    dropped = parse("label-drop(1)")(loaded.denoiser)
    x, sigma, label = noisy(loaded)
    assert torch.equal(dropped(x, sigma, label, Draws(0)), loaded.denoiser(x, sigma))


@pytest.mark.parametrize(("precision", "close"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
def test_low_precision_is_close_and_does_not_touch_what_shares_weights(
    pair: tuple[Any, Loaded], precision: torch.dtype, close: float
) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    low = base.with_sites(
        "attention", lambda site: site.then(lambda h, draws: h), wanted_by="a test"
    )
    found = base(x, sigma, label)
    network_of(low).use(precision)
    rough = low(x, sigma, label)
    assert rough.dtype == torch.float32
    assert {weight.dtype for weight in low.parameters()} == {precision}
    assert not torch.equal(rough, found)
    error = (rough - found).square().mean() / (found - x).square().mean()
    assert error.sqrt() < close
    assert torch.equal(base(x, sigma, label), found)
    with pytest.raises(InputError, match="float64"):
        network_of(low).use(torch.float64)


# --- decoders


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
    with pytest.raises(InputError, match="'latent_channels' found 3; accepted is 4"):
        edm2_decoder(str(tmp_path), tmp_path)


# --- folders


def rewrite(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


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


def load(folder: Path) -> Loaded:
    return load_diffusers(str(folder), folder)


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
            'found "UNet2DConditionModel"; accepted is UNet2DModel, DiT',
        ),
        (network(_class_name="../evil.Model"), "accepted is UNet2DModel, DiT"),
        (network(_class_name=["a"]), "accepted is UNet2DModel, DiT"),
        (network(norm_type="ada_norm_single"), "accepted is ada_norm_zero"),
        (network(num_layers=10**6), "'num_layers' found 1000000; accepted is at most 512"),
        (network(attention_head_dim=10**12), "'attention_head_dim' found .*at most 65536"),
        (network(norm_eps=math.inf), "'norm_eps' found Infinity"),
        (network(sample_size=2**16, patch_size=1), "tables of more than"),
        (network(sample_size="8"), "'sample_size' found \"8\"; accepted is a whole number"),
        (network(sample_size=9), "'patch_size' found 2; accepted is a divisor of sample_size, 9"),
        (network(out_channels=5), "'out_channels' found 5; accepted is 4 or 8"),
        (network(num_attention_heads=-1), "diffusers cannot build"),
        (network(activation_fn={}), "diffusers cannot build"),
        (network(num_layers=3), "the tensor 'transformer_blocks.2.*found none, the network"),
        (network(num_attention_heads=3), "found shape .* wants shape"),
        (lambda folder: (folder / "transformer/config.json").unlink(), "config.json: missing"),
        (lambda folder: (folder / "transformer/config.json").write_text("[1"), "not a JSON file"),
        (
            lambda folder: (folder / "transformer/config.json").write_bytes(b"\xff\xfe"),
            "not a JSON file",
        ),
        (
            lambda folder: (folder / "transformer/config.json").write_text("[" * 10**5),
            "not a JSON file",
        ),
        (
            lambda folder: (folder / "transformer/config.json").write_text("[]"),
            "a JSON object is wanted, found list",
        ),
        (
            lambda folder: (folder / "scheduler/scheduler_config.json").unlink(),
            "scheduler_config.json: missing",
        ),
        (
            entry("scheduler/scheduler_config.json", prediction_type="flow"),
            "accepted is epsilon, sample, v_prediction",
        ),
        (only_bin, "missing, found diffusion_pytorch_model.bin; only safetensors"),
        (
            lambda folder: (folder / "transformer" / WEIGHTS).unlink(),
            "missing, found no weights at all",
        ),
        (truncated, "not a whole safetensors file"),
        (not_weights, "not a whole safetensors file"),
        (nested, "names the file"),
        (network(attention_bias=[0] * 65), "'attention_bias' found .*at most 64 in a list"),
        (escaping, "names the file '../outside.safetensors'"),
        (lambda folder: spoil_weights(folder, lambda t: t.pop(BIAS)), f"'{BIAS}': found none"),
        (
            lambda folder: spoil_weights(folder, lambda t: t.update(x=t[BIAS].clone())),
            "'x': found shape .* wants none",
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
        (lambda folder: (folder / "vqvae").mkdir(), "accepted autoencoder is an AutoencoderKL"),
        (lambda folder: (folder / "vae").mkdir(), "vae/config.json: missing"),
    ],
)
def test_a_spoilt_folder_is_refused(
    folder: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_size": None}, "'sample_size' found null"),
        ({"sample_size": 9}, "multiples of 2"),
        ({"time_embedding_type": "fourier"}, "accepted is positional, learned"),
        ({"class_embed_type": "identity"}, "accepted is timestep"),
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
def test_u_nets_that_are_no_denoisers_of_this_kind_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    diffusers.DDIMScheduler().save_pretrained(tmp_path / "scheduler")
    unet().save_config(tmp_path / "unet")  # the settings are looked at before the weights
    rewrite(tmp_path / "unet/config.json", **settings)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


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
def test_places_that_are_none_are_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError, match="accepted"):
        load_diffusers(place, tmp_path)


def test_the_accepted_classes_are_of_diffusers() -> None:
    assert all(hasattr(diffusers, name) for name in DENOISERS.values())
