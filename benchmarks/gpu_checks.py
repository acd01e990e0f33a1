"""Device tests of gpu.py: whether an accelerator computes what a CPU does, each with the number
found and its bound.

Started by itself, with a folder, this file is one process of the launched group that is compared
with a single process.
"""

import copy
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from timing import Checks
from torch import Tensor, nn

from degradations import Draws, Dropout, InputNoise, kinds
from study.models import EDM, PatchTransformer, Preconditioned
from study.models.by_class import published
from study.sampling import Fixed, edm_sigmas

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
        denoiser = published("Precond", EDM2_SMALL if REDUCED else EDM2_S)
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


def fp32(checks: Checks) -> None:
    """Products and convolutions of fp32 against fp64: √k·2⁻²⁴ where TF32 is off, and about 2⁻¹¹
    where it is on.

    A study switches it off when it asks where its networks are evaluated.
    """
    from study.parallel.device import device as chosen

    allow_tf32(not REDUCED)
    where, generator = chosen(), torch.Generator().manual_seed(0)
    a, b, x, w = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((512, 1024), (1024, 512), (4, 64, 32, 32), (64, 64, 3, 3))
    )
    convolved = nn.functional.conv2d(x, w, padding=1)
    found = nn.functional.conv2d(x.float().to(where), w.float().to(where), padding=1)
    checks.at_most(
        "product_fp32", difference(a.float().to(where) @ b.float().to(where), a @ b), 2.0**-15
    )
    checks.at_most("convolution_fp32", difference(found, convolved), 2.0**-15)


@torch.inference_mode()
def precisions(checks: Checks) -> None:
    """EDM2 on the device in fp32 against the CPU, then in fp16 and bf16 against fp32.

    In fp32 the roundings within a sum of k terms count too, √k of one.
    """
    allow_tf32(False)
    network, where = edm2(), device()
    terms = max(math.prod(p.shape[1:]) for p in network.parameters() if p.ndim == 4)
    # where D is all the network's
    x = 80 * torch.randn(2, *shape(), generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 7])
    exact = copy.deepcopy(network).to(where)(x.to(where), 80.0, label.to(where))
    bound = math.sqrt(terms) * rounding(network, torch.float32)
    checks.at_most("edm2_fp32", difference(exact, network(x, 80.0, label)), bound)
    for name, precision in PRECISIONS.items():
        lower = copy.deepcopy(network).to(where)
        lower.network.use(precision)
        found = lower(x.to(where), 80.0, label.to(where))
        checks.at_most(f"edm2_{name}", difference(found, exact), rounding(network, precision))


@torch.inference_mode()
def every_kind(checks: Checks) -> None:
    """Every kind on the device: one that draws nothing against the CPU, one that does against
    itself, drawn again."""
    where, base = device(), transformer()
    x, label = (
        torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)),
        torch.arange(64) % 10,
    )
    moved = copy.deepcopy(base).to(where)
    for name, kind in kinds().items():
        degradation, draws = kind(4.0 if kind.identity == math.inf else 0.2), Draws(0)
        degraded = degradation(moved).to(where)
        found = degraded(x.to(where), 1.0, label.to(where), draws)
        if draws.unused:
            checks.at_most(
                f"kind_{name}", difference(found, degradation(base)(x, 1.0, label)), SAME
            )
        else:
            checks.at_most(
                f"kind_{name}",
                difference(degraded(x.to(where), 1.0, label.to(where), Draws(0)), found),
                0,
            )


def sampling(checks: Checks) -> None:
    """Samples of one seed drawn twice, and the parameters of the base that sampling leaves
    elsewhere than it was."""
    from study.lightning.sample import Job, collect

    pair, source = sampler(), Fixed((96, 1, 8, 8), 32, torch.arange(96) % 10)
    first = collect(pair, Job(source, 0, 2.0))
    checks.at_most("sampled_again", difference(collect(pair, Job(source, 0, 2.0)), first), SAME)
    away = sum(p.device.type != device().type for p in pair.pair.main.parameters())
    checks.at_most("parameters_moved_away", away, 0)


def streams(checks: Checks) -> None:
    """Scores of decoded samples, decoded and scored in a stream beside the sampling, and one after
    the other."""
    import study.lightning.sample as module
    from study.metrics import Tally
    from study.metrics.extractors import Images
    from study.models.diffusers import VAEDecoder

    width, chunk, side = (8, 8, 8) if REDUCED else (128, 32, 32)
    torch.manual_seed(0)
    arguments = {**EDM2_SMALL, "img_resolution": side, "model_channels": 16 if REDUCED else 128}
    base = published("Precond", arguments).eval().requires_grad_(False)
    pair = module.PairSampler(
        base, InputNoise(0.1), Dropout(0.2), sigmas=edm_sigmas(6, 0.002, 80).tolist()
    )
    decoder = VAEDecoder(
        Upscale(width).requires_grad_(False), torch.ones(1), torch.zeros(1), signed=True
    )
    features = nn.Sequential(
        nn.Conv2d(3, 32, 7, 4),
        nn.SiLU(),
        nn.Conv2d(32, 64, 3, 2),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    extractor = Images("features", "", features.requires_grad_(False))
    source = Fixed((6 * chunk, 4, side, side), chunk, torch.arange(6 * chunk) % 10)
    products, seconds = [], []
    overlaps = module._overlaps
    try:
        for beside in (False, True, False, True, True):
            module._overlaps = lambda where, beside=beside: beside  # type: ignore[misc]
            began = time.perf_counter()  # what is scored is on the CPU when it is returned
            tally = module.score(pair, module.Job(source, 0, 2.0), Tally([extractor]), see=decoder)
            seconds.append(time.perf_counter() - began)
            products.append(torch.from_numpy(tally.moments["features"].product))
    finally:
        module._overlaps = overlaps
    checks.at_most(
        "decoded_beside", max(difference(found, products[0]) for found in products[1:]), SAME
    )
    print(f"decoded_beside_speedup {seconds[2] / min(seconds[3:]):.2f}", flush=True)


def decoder(checks: Checks) -> None:
    """Images of 8 bits by an AutoencoderKL of random weights on the device against the CPU: steps
    between grey levels.

    The bound is one, where rounding decides between two.
    """
    import diffusers

    from study.models.diffusers import VAEDecoder

    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=16,
    ).eval()
    decode = VAEDecoder(vae, torch.full((4,), 0.1), torch.zeros(4), signed=True)
    latents = torch.randn(16, 4, 8, 8)
    expected = decode(latents)
    steps = (decode(latents.to(device())).cpu().int() - expected.int()).abs().max()
    checks.at_most("decoder_steps", int(steps), 1)


def group(checks: Checks) -> None:
    """Samples and moments of two launched processes, on one device where there is no second,
    against those of one."""
    samples, product = group_work()
    with tempfile.TemporaryDirectory() as folder:
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
        ]
        found = subprocess.run(
            [*launch, __file__, folder], capture_output=True, text=True, timeout=120
        )
        if found.returncode:
            errors = [line for line in found.stderr.splitlines() if "Error" in line]
            raise RuntimeError(errors[0] if errors else found.stderr[-200:])
        ranks = [np.load(Path(folder) / f"{rank}.npz") for rank in (0, 1)]
        for key, expected in (("samples", samples), ("product", product)):
            worst = max(difference(torch.from_numpy(rank[key]), expected) for rank in ranks)
            checks.at_most(f"group_{key}", worst, SAME)


def group_work() -> tuple[Tensor, Tensor]:
    """What every process of a group does: samples, and the product of their moments."""
    from study.lightning.sample import Job, collect, score
    from study.metrics import Pixels, Tally

    pair, source = sampler(), Fixed((70, 1, 8, 8), 16, torch.arange(70) % 10)
    product = score(pair, Job(source, 3, 2.0), Tally([Pixels()])).moments["pixels"].product
    return collect(pair, Job(source, 3, 2.0)), torch.from_numpy(product)


def training(checks: Checks) -> None:
    """Twenty steps of training, loaded again: the share of estimates that are not finite."""
    from study.checkpoints import load_base
    from study.lightning.train import train
    from study.specs import RecipeSpec

    with tempfile.TemporaryDirectory() as folder:
        train(
            RecipeSpec(data="digits", steps=20), Path(folder), "benchmarks/gpu.py", progress=False
        )
        base = load_base(folder, "digits")
    found = base.denoiser.to(device())(base.data.samples[:64].to(device()), 1.0)
    checks.at_most("trained_not_finite", float((~found.isfinite()).float().mean()), 0)


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


ALL: tuple[Callable[[Checks], None], ...] = (
    fp32,
    precisions,
    every_kind,
    sampling,
    streams,
    decoder,
    group,
    training,
)


def main() -> None:
    samples, product = group_work()
    np.savez(Path(sys.argv[1]) / f"{os.environ['RANK']}.npz", samples=samples, product=product)


if __name__ == "__main__":
    main()
