"""Denoisers and decoders in the format of diffusers, from a folder or the Hugging Face hub."""

import inspect
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from degradations import Denoiser, InputError
from study.models.decoder import Decoder
from study.models.diffusers_files import (
    CONFIG,
    MOST,
    Config,
    fingerprint,
    folder_of,
    load,
    read_config,
    weight_files,
)
from study.models.diffusers_limits import limit_of
from study.models.diffusers_network import DiffusersNetwork
from study.models.diffusers_schedule import PREDICTIONS, DiscreteSchedule, noise_levels
from study.models.optional import optional

# The accepted classes, and the class that each is built as: DiTs were published under the name of
# an older class.
DENOISERS = {
    "UNet2DModel": "UNet2DModel",
    "DiTTransformer2DModel": "DiTTransformer2DModel",
    "Transformer2DModel": "DiTTransformer2DModel",
}
VAE, SCHEDULE = "AutoencoderKL", "scheduler_config.json"
SCALING = 0.18215  # of every autoencoder published before settings included it
DOWN = (
    "DownBlock2D",
    "AttnDownBlock2D",
    "ResnetDownsampleBlock2D",
    "SkipDownBlock2D",
    "AttnSkipDownBlock2D",
)
UP = ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D", "SkipUpBlock2D", "AttnSkipUpBlock2D")

EDM2_MEAN, EDM2_STD, EDM2_FINAL_STD = (5.81, 3.25, 0.12, -2.15), (4.17, 4.62, 3.71, 3.28), 0.5


class Loaded(NamedTuple):
    """A denoiser of samples of shape (C, H, W), in σ from sigma_min to sigma_max, and its parts.

    decoder: of its latents to images, None if there is no autoencoder beside it, as for denoisers
    of images in [−1, 1]. sha256: of all files that were read, weights and settings, and of the
    limit on its estimates.
    """

    denoiser: Denoiser
    shape: tuple[int, ...]
    classes: int
    decoder: Decoder | None
    sha256: str
    sigma_min: float
    sigma_max: float


def load_diffusers(place: str, cache: Path) -> Loaded:
    """The denoiser of a folder in diffusers' format, or of `hub:org/name`.

    The latter is downloaded into cache/org/name. The folder is a pipeline's, with `unet` or
    `transformer`, `scheduler` and, for latents, `vae`; or a single network's, with `scheduler` or a
    scheduler_config.json in it. Networks: UNet2DModel, with or without classes, and
    DiTTransformer2DModel. From the scheduler's settings the noise schedule (`noise_levels`) and the
    clipping or thresholding of estimates (`limit_of`) are used, but not its way of sampling, such
    as solver and spacing. Only JSON and safetensors are read, and no code of a folder is executed.
    Raises InputError if something is missing, damaged, or not of these kinds.
    """
    root = folder_of(place, cache)
    if (root / "vqvae").exists():
        raise InputError(f"{root / 'vqvae'}: not supported; accepted: an AutoencoderKL, in vae.")
    config = read_config(_part(root, "unet", "transformer") / CONFIG)
    kind = DENOISERS[config.choice("_class_name", DENOISERS)]
    shape, classes = _SHAPES[kind](config)
    schedules = [root / "scheduler" / SCHEDULE, root / SCHEDULE]
    schedule = read_config(next((path for path in schedules if path.is_file()), schedules[0]))
    sigmas = noise_levels(schedule)
    if config.entries.get("time_embedding_type") == "learned" and config.whole(
        "num_train_timesteps"
    ) < len(sigmas):
        config.reject(
            "num_train_timesteps", f"{len(sigmas)} or more, the timesteps of {schedule.path}"
        )
    prediction = schedule.choice("prediction_type", PREDICTIONS, default="epsilon")
    network = DiffusersNetwork(_build(config, kind), classes)
    read = [schedule.path, config.path, *weight_files(config.path.parent)]
    decoder = None
    if (root / "vae").exists():
        vae = read_config(root / "vae" / CONFIG)
        decoder = _decoder_of(vae, shape[0])
        read += [vae.path, *weight_files(vae.path.parent)]
    denoiser = DiscreteSchedule(network, sigmas, prediction, limit := limit_of(schedule)).eval()
    digest = fingerprint(root, read) + (f" with {limit}" if limit else "")
    return Loaded(denoiser, shape, classes, decoder, digest, float(sigmas[0]), float(sigmas[-1]))


class VAEDecoder(Decoder):
    """Images of latents x, [B, C, h, w], by an AutoencoderKL: y = decode(z), z = (x − bias)/scale.

    scale, bias: [C]. signed: y in [−1, 1], images 255·clamp(y/2 + ½, 0, 1) rounded, the convention
    of latent diffusion; otherwise y in [0, 1], images 255·clamp(y, 0, 1) rounded down, as in EDM2.
    Decoded `batch` at a time, in float32. (Rombach et al. 2022; Peebles & Xie 2023; Karras et al.
    2024, EDM2)
    """

    def __init__(
        self,
        vae: nn.Module,
        scale: Tensor,
        bias: Tensor,
        signed: bool,
        batch: int = 8,
        sha256: str = "",
    ) -> None:
        if batch < 1:
            raise InputError(f"VAEDecoder: found batch {batch}; accepted: 1 or more.")
        self.vae: Any = vae
        self.scale, self.bias, self.signed, self.batch, self.sha256 = (
            scale,
            bias,
            signed,
            batch,
            sha256,
        )

    @torch.inference_mode()
    def __call__(self, samples: Tensor) -> Tensor:
        self.vae.to(samples.device)
        scale, bias = (v.to(samples.device).reshape(-1, 1, 1) for v in (self.scale, self.bias))
        z = (samples.float() - bias) / scale
        parts = torch.split(z, self.batch)
        return torch.cat(
            [self._images(self.vae.decode(part, return_dict=False)[0]) for part in parts]
        )

    def _images(self, y: Tensor) -> Tensor:
        if self.signed:
            return (y / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return y.clamp(0, 1).mul(255).to(torch.uint8)


def edm2_decoder(place: str, cache: Path, batch: int = 8) -> VAEDecoder:
    """The decoder of EDM2's latents, from a folder or `hub:stabilityai/sd-vae-ft-mse`.

    x = z·scale + bias, scale = 0.5/std, bias = −mean·scale, of the raw latents' mean [5.81, 3.25,
    0.12, −2.15] and std [4.17, 4.62, 3.71, 3.28]. Raises InputError as `load_diffusers` does.
    (Karras et al. 2024, EDM2, training/encoders.py)
    """
    config = read_config(_part(folder_of(place, cache), "vae") / CONFIG)
    _check_vae(config, len(EDM2_MEAN))
    scale = EDM2_FINAL_STD / torch.tensor(EDM2_STD)
    digest = fingerprint(config.path.parent, [config.path, *weight_files(config.path.parent)])
    bias = -torch.tensor(EDM2_MEAN) * scale
    return VAEDecoder(_build(config, VAE), scale, bias, signed=False, batch=batch, sha256=digest)


def _decoder_of(config: Config, channels: int) -> VAEDecoder:
    """The decoder of a pipeline's latents, by the scaling and shift factors of its autoencoder."""
    _check_vae(config, channels)
    for key in ("latents_mean", "latents_std"):
        if config.entries.get(key) is not None:
            config.reject(key, "null: latents are taken to be scaled by scaling_factor alone")
    factor = config.number("scaling_factor", default=SCALING)
    shift = 0.0 if config.entries.get("shift_factor") is None else config.number("shift_factor")
    if factor <= 0:
        config.reject("scaling_factor", "a number above 0")
    return VAEDecoder(
        _build(config, VAE), torch.tensor([factor]), torch.tensor([-shift * factor]), signed=True
    )


def _check_vae(config: Config, channels: int) -> None:
    config.choice("_class_name", [VAE])
    for key, wanted in (("latent_channels", channels), ("out_channels", 3)):
        if config.whole(key) != wanted:
            config.reject(key, f"{wanted}, for these latents and for images")


def _part(root: Path, *names: str) -> Path:
    """The first of these folders of a pipeline that exists, else the root (a network's folder)."""
    return next((root / name for name in names if (root / name).is_dir()), root)


def _build(config: Config, kind: str) -> nn.Module:
    """The network of a diffusers class by its settings, with the weights beside them."""
    make = getattr(optional("diffusers", "diffusers"), kind)
    known = inspect.signature(make.__init__).parameters
    settings = {key: value for key, value in config.entries.items() if key in known}
    return load(lambda: make(**settings), config, weight_files(config.path.parent))


def _unet(config: Config) -> tuple[tuple[int, ...], int]:
    """The shape and the number of classes of a UNet2DModel.

    Raises InputError if it is not a denoiser of this kind.
    """
    blocks = {"down_block_types": DOWN, "up_block_types": UP}
    for key, accepted in blocks.items():
        found = config.entries.get(key)
        if (
            not isinstance(found, list)
            or not found
            or not all(block in accepted for block in found)
        ):
            config.reject(key, f"a list of {', '.join(accepted)}")
    # 'fourier' receives σ, not t
    config.choice("time_embedding_type", ("positional", "learned"), default="positional")
    if config.entries.get("class_embed_type") is not None:
        config.choice("class_embed_type", ["timestep"])  # 'identity' has no classes
        config.whole("num_class_embeds")
    size, unit = (
        config.entries.get("sample_size"),
        2 ** (len(config.entries["down_block_types"]) - 1),
    )
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or not all(
        type(side) is int and 0 < side <= MOST and side % unit == 0 for side in sides
    ):
        config.reject(
            "sample_size", f"a whole number to {MOST}, or two, [rows, columns], multiples of {unit}"
        )
    classes = (
        0 if config.entries.get("num_class_embeds") is None else config.whole("num_class_embeds")
    )
    return (_channels(config), *sides), classes


def _dit(config: Config) -> tuple[tuple[int, ...], int]:
    """The shape and the number of classes of a DiTTransformer2DModel.

    Raises InputError as `_unet` does.
    """
    config.choice("norm_type", ["ada_norm_zero"])
    side = config.whole("sample_size")
    if side % config.whole("patch_size"):
        config.reject("patch_size", f"a divisor of sample_size, {side}")
    return (_channels(config), side, side), config.whole("num_embeds_ada_norm")


def _channels(config: Config) -> int:
    """The channels of the input.

    The output has as many, or twice as many with a learned variance.
    """
    channels = config.whole("in_channels")
    if config.entries.get("out_channels") not in (None, channels, 2 * channels):
        config.reject("out_channels", f"{channels} or {2 * channels}")
    return channels


_SHAPES = {"UNet2DModel": _unet, "DiTTransformer2DModel": _dit}
