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

import numpy as np
import torch
from gpu_networks import (
    EDM2_SMALL,
    PRECISIONS,
    REDUCED,
    SAME,
    Upscale,
    allow_tf32,
    device,
    difference,
    edm2,
    rounding,
    sampler,
    shape,
    transformer,
)
from timing import Checks
from torch import Tensor, nn

from degradations import Draws, Dropout, InputNoise, kinds
from study.checkpoints import load_base, with_classifier
from study.models.by_class import network_of_class
from study.sampling import Fixed, edm_sigmas


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
    digits = with_classifier(load_base("digits", "digits"), Path("mlruns"))
    base.classifier = digits.denoiser.classifier
    x, label = (
        torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)),
        torch.arange(64) % 10,
    )
    moved = copy.deepcopy(base).to(where)
    for name, kind in kinds().items():
        if name == "windows":  # of convolutional networks
            continue
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
    from study.metrics.images import Images
    from study.models.diffusers import VAEDecoder

    width, chunk, side = (8, 8, 8) if REDUCED else (128, 32, 32)
    torch.manual_seed(0)
    arguments = {**EDM2_SMALL, "img_resolution": side, "model_channels": 16 if REDUCED else 128}
    base = network_of_class("Precond", arguments).eval().requires_grad_(False)
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
    from study.data import load_data
    from study.lightning.train import train
    from study.specs import RecipeSpec

    with tempfile.TemporaryDirectory() as folder:
        recipe, data = RecipeSpec(data="digits", steps=20), load_data("digits")
        train(recipe, data, Path(folder), "benchmarks/gpu.py", progress=False)
        base = load_base(folder, "digits")
    found = base.denoiser.to(device())(base.data.samples[:64].to(device()), 1.0)
    checks.at_most("trained_not_finite", float((~found.isfinite()).float().mean()), 0)


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
