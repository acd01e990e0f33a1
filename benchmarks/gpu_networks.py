"""What the parts of gpu.py share: the device, small networks, and the differences of tensors."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from degradations import Dropout, InputNoise
from study.models import EDM, PatchTransformer, Preconditioned
from study.models.by_class import network_of_class
from study.sampling import edm_sigmas

if TYPE_CHECKING:
    from study.lightning.sample import PairSampler

REDUCED = not torch.accelerator.is_available()
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}
# The relative rounding of a format.
ROUNDOFF = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
SAME = 1e-5  # five times √1000·2⁻²⁴: sums of a thousand terms of fp32 in another order
EDM2_S = {"img_resolution": 64, "img_channels": 4, "label_dim": 1000, "model_channels": 192}
EDM2_SMALL = {
    "img_resolution": 16,
    "img_channels": 4,
    "label_dim": 10,
    "model_channels": 16,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [8],
    "channels_per_head": 16,
}


def device() -> torch.device:
    """The accelerator that this process uses, with its number, or the CPU."""
    found = None if REDUCED else torch.accelerator.current_accelerator()
    return (
        torch.device("cpu")
        if found is None
        else torch.device(found.type, torch.accelerator.current_device_index())
    )


def wall(call: Callable[[], object]) -> float:
    """Seconds that a call takes, with all that it gives an accelerator to do."""
    began = time.perf_counter()
    call()
    if not REDUCED:
        torch.accelerator.synchronize()
    return time.perf_counter() - began


def edm2(where: torch.device | str = "cpu") -> Preconditioned:
    """EDM2-S, or a small network of its kind, with random weights, and ones for the gains, which
    start at 0."""
    torch.manual_seed(0)
    with torch.device(where):
        denoiser = network_of_class("Precond", EDM2_SMALL if REDUCED else EDM2_S)
    for name, parameter in denoiser.named_parameters():
        if name.endswith("gain"):
            parameter.data.fill_(1)
    return denoiser.eval().requires_grad_(False)


def rounding(network: nn.Module, precision: torch.dtype) -> float:
    """What is expected of n roundings in a row where magnitudes are kept, √n of one: n is twelve a
    block of EDM2."""
    return (
        math.sqrt(12 * sum(hasattr(module, "conv_res0") for module in network.modules()))
        * ROUNDOFF[precision]
    )


def allow_tf32(allowed: bool) -> None:
    """Whether products and convolutions of fp32 may be shortened on NVIDIA's GPUs."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")


def difference(found: Tensor, expected: Tensor) -> float:
    """|a − b|/|b|, of tensors anywhere, in double precision."""
    a, b = found.double().cpu(), expected.double().cpu()
    return float((a - b).norm() / b.norm())


class Upscale(nn.Module):
    """A decoder with the interface of diffusers' AutoencoderKL: [B, 4, h, w] to images of eight
    times the side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        twice = [
            nn.Sequential(
                nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1), nn.SiLU()
            )
            for _ in range(3)
        ]
        self.body = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1), *twice, nn.Conv2d(width, 3, 3, padding=1)
        )

    def decode(self, z: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        return (self.body(z),)


def transformer() -> EDM:
    """A small denoiser of images [B, 1, 8, 8] in 10 classes with every kind of site, none of its
    weights zero."""
    torch.manual_seed(0)
    network = PatchTransformer(
        (1, 8, 8), 10, width=32, hidden=64, blocks=2, embedding=16, heads=2, patch=2
    )
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return EDM(network, 0.5).eval().requires_grad_(False)


def sampler() -> "PairSampler":
    """A pairing of degradations of the small denoiser."""
    from study.lightning.sample import PairSampler

    return PairSampler(
        transformer(), InputNoise(0.1), Dropout(0.2), sigmas=edm_sigmas(6, 0.01, 10).tolist()
    )


def shape() -> tuple[int, int, int]:
    """The shape of a sample of `edm2`."""
    arguments = EDM2_SMALL if REDUCED else EDM2_S
    return arguments["img_channels"], arguments["img_resolution"], arguments["img_resolution"]  # type: ignore[return-value]
