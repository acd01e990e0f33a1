"""What a scheduler of diffusers does to a network's estimate of the clean sample before it steps.

Here it belongs to the denoiser: D(x; σ) is the limited estimate wherever it is asked for. That is
what the schedulers named here step with, but for DDIM's default, which goes on with the noise
estimate of the network as it was; with `use_clipped_model_output` it is an Euler step of the
limited D. Under guidance main and guide are limited each by itself, and D_w = w·D1 + (1 − w)·D0 is
not: a pipeline of diffusers would combine first, and limit what comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from degradations.denoiser import column
from study.models.diffusers_files import Config
from study.models.preconditioning import Limit

# The schedulers that clip, and whether they do where their settings do not say; and those that can
# threshold.
CLIPPING: Mapping[str, bool] = {
    "DDPMScheduler": True,
    "DDPMParallelScheduler": True,
    "DDIMScheduler": True,
    "DDIMParallelScheduler": True,
    "HeunDiscreteScheduler": False,
}
THRESHOLDING = (
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
)


@dataclass(frozen=True)
class Clip:
    """D ↦ D clipped to [−most, most]."""

    most: float

    def __call__(self, d: Tensor) -> Tensor:
        return d.clamp(-self.most, self.most)


@dataclass(frozen=True)
class Threshold:
    """D ↦ D clipped to [−s, s], over s: s is a sample's quantile of |D|, at least 1 and at most
    `most`.

    ratio: which quantile. D: [B, …]. (Dynamic thresholding, Saharia et al. 2022, § 2.3)
    """

    ratio: float
    most: float

    def __call__(self, d: Tensor) -> Tensor:
        s = column(d.flatten(1).abs().quantile(self.ratio, dim=1).clamp(1, self.most), d)
        return d.clamp(-s, s) / s


def limit_of(config: Config) -> Limit | None:
    """What a scheduler's settings ask for; None for nothing, and of schedulers that would not do
    it.

    `thresholding` with `dynamic_thresholding_ratio` and `sample_max_value`, or else `clip_sample`
    with `clip_sample_range`; what is not among the settings is as the scheduler has it by itself.
    Raises InputError for values that are none of these.
    """
    name = config.entries["_class_name"]
    on_estimate = name != "UniPCMultistepScheduler" or _flag(config, "predict_x0", default=True)
    if name in THRESHOLDING and on_estimate and _flag(config, "thresholding", default=False):
        ratio = config.number("dynamic_thresholding_ratio", default=0.995)
        if not 0 <= ratio <= 1:
            config.refuse("dynamic_thresholding_ratio", "a number from 0 to 1")
        return Threshold(ratio, _positive(config, "sample_max_value"))
    if name in CLIPPING and _flag(config, "clip_sample", CLIPPING[name]):
        return Clip(_positive(config, "clip_sample_range"))
    return None


def _flag(config: Config, key: str, default: bool) -> bool:
    found = config.entries.get(key, default)
    if found is not None and not isinstance(found, bool):
        config.refuse(key, "true or false")
    return bool(found)


def _positive(config: Config, key: str) -> float:
    found = config.number(key, default=1.0)
    if found <= 0:
        config.refuse(key, "a number above 0")
    return found
