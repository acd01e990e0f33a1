"""The limits that a scheduler of diffusers applies to the estimate of the clean sample.

Here they belong to the denoiser: D(x; σ) is the limited estimate wherever it is evaluated. The
schedulers named here step with it, except for DDIM's default, which steps with the unlimited noise
estimate; with `use_clipped_model_output` its step is an Euler step of the limited D. With guidance,
main and guide are each limited, and D_w = w·D1 + (1 − w)·D0 is not: a pipeline of diffusers would
combine them first and limit the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from degradations.denoiser import column
from study.models.diffusers_files import Config
from study.models.preconditioning import Limit

# The schedulers that clip, with their defaults, and those that can threshold.
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
    """D ↦ D clipped to [−s, s], divided by s, a quantile of a sample's |D|.

    s is at least 1 and at most `most`; ratio: the quantile. D: [B, …]. (Dynamic thresholding,
    Saharia et al. 2022, § 2.3)
    """

    ratio: float
    most: float

    def __call__(self, d: Tensor) -> Tensor:
        s = column(d.flatten(1).abs().quantile(self.ratio, dim=1).clamp(1, self.most), d)
        return d.clamp(-s, s) / s


def limit_of(config: Config) -> Limit | None:
    """The limit that a scheduler's settings request; None if they request none.

    None also for schedulers that do not apply limits. `thresholding` with
    `dynamic_thresholding_ratio` and `sample_max_value`, or else `clip_sample` with
    `clip_sample_range`; missing settings have the scheduler's defaults. Raises InputError if a
    value is not valid.
    """
    name = config.entries["_class_name"]
    on_estimate = name != "UniPCMultistepScheduler" or _flag(config, "predict_x0", default=True)
    if name in THRESHOLDING and on_estimate and _flag(config, "thresholding", default=False):
        ratio = config.number("dynamic_thresholding_ratio", default=0.995)
        if not 0 <= ratio <= 1:
            config.reject("dynamic_thresholding_ratio", "a number from 0 to 1")
        return Threshold(ratio, _positive(config, "sample_max_value"))
    if name in CLIPPING and _flag(config, "clip_sample", CLIPPING[name]):
        return Clip(_positive(config, "clip_sample_range"))
    return None


def _flag(config: Config, key: str, default: bool) -> bool:
    found = config.entries.get(key, default)
    if found is not None and not isinstance(found, bool):
        config.reject(key, "true or false")
    return bool(found)


def _positive(config: Config, key: str) -> float:
    found = config.number(key, default=1.0)
    if found <= 0:
        config.reject(key, "a number above 0")
    return found
