"""Speeds of gpu.py: guided sampling by EDM2-S, and scoring by networks of the size of Inception-v3
and DINOv2 ViT-L.

Weights are random throughout. On a CPU the networks are small, and the figures mean nothing.
"""

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gpu_networks import (
    PRECISIONS,
    REDUCED,
    SAME,
    allow_tf32,
    device,
    difference,
    edm2,
    rounding,
    shape,
    wall,
)
from timing import Checks, first_line
from torch import Tensor, nn

from degradations import Dropout, InputNoise, Pair
from study.models import Preconditioned
from study.sampling import PerSample, Start, edm_sigmas, sample_chunk

STEPS, TIMED_STEPS = 32, 3
BATCH = 2 if REDUCED else 64  # as configs/edm2-img512-s.yaml has it
Left = Callable[[], float]  # seconds


def show(name: str, value: float, form: str = ".3g") -> None:
    print(f"{name} {value:{form}}", flush=True)


def median_of(repeats: int, call: Callable[[], object]) -> float:
    """The median of the seconds of some calls, after one to warm up."""
    wall(call)
    return statistics.median(wall(call) for _ in range(repeats))


def peak(precision: torch.dtype) -> float:
    """Operations a second of a large product of matrices in a precision."""
    n = 256 if REDUCED else 8192
    a = torch.randn(n, n, device=device()).to(precision)
    repeats = 20

    def products() -> None:
        for _ in range(repeats):
            torch.mm(a, a)

    return 2 * n**3 * repeats / median_of(3, products)


def operations() -> int:
    """Floating-point operations of a network evaluation of one sample, a multiplication and an
    addition being two."""
    from torch.utils.flop_counter import FlopCounterMode

    denoiser = edm2("meta")
    label = torch.zeros(1, dtype=torch.long, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser(torch.zeros(1, *shape(), device="meta"), 1.0, label)
    return int(counter.get_total_flops())


def sampling_eager(checks: Checks, left: Left) -> None:
    """Guided Heun sampling: noise(0.1) → noise(0.2) in fp16 and bf16, then dropout, then a larger
    batch."""
    best, flop = {name: peak(precision) for name, precision in PRECISIONS.items()}, operations()
    for name, value in best.items():
        show(f"matrix_{name}_tflops", value / 1e12)
    show("edm2_s_gflop", flop / 1e9)
    for name, precision in PRECISIONS.items():
        _sample(f"edm2_s_{name}_eager", _base(precision), BATCH, flop, best[name])
    base = _base(torch.float16)
    _sample(
        "edm2_s_fp16_dropout",
        base,
        BATCH,
        flop,
        best["fp16"],
        Pair(base, Dropout(0.05), Dropout(0.1)),
    )
    if left() > 10:
        _sample("edm2_s_fp16_large_batch", base, 4 * BATCH, flop, best["fp16"])


def sampling_compiled(checks: Checks, left: Left) -> None:
    """The same with the bare network compiled: degradations and the sampling loop stay outside."""
    flop, spent = operations(), 0.0
    for name, precision in list(PRECISIONS.items())[: 1 if REDUCED else None]:
        if left() < spent:
            print(f"# compiled {name}: skipped, {left():.0f} s are left", flush=True)
            continue
        base = _base(precision)
        noise, label, _ = _start(BATCH)
        try:
            with torch.inference_mode():
                eager = base(80 * noise, 80.0, label)  # where D is all the network's
                base.network.compile()
                spent = wall(lambda base=base, x=80 * noise, label=label: base(x, 80.0, label))
                show(f"edm2_s_{name}_compile_seconds", spent)
                found = difference(base(80 * noise, 80.0, label), eager)
            # Each of the two is rounded, in places of its own.
            checks.at_most(
                f"edm2_s_{name}_compiled_difference",
                found,
                math.sqrt(2) * rounding(base, precision),
            )
            _sample(f"edm2_s_{name}_compiled", base, BATCH, flop, peak(precision))
        except Exception as error:
            print(f"# compiled {name}: {type(error).__name__}: {first_line(error)}", flush=True)


def _base(precision: torch.dtype) -> Preconditioned:
    base = edm2(device())
    base.network.use(precision)
    return base


def _start(batch: int) -> Start:
    return PerSample((batch, *shape()), batch, 10, device()).start(0, 0)


def _sample(
    name: str, base: Preconditioned, batch: int, flop: int, best: float, pair: Pair | None = None
) -> None:
    """Print images a second of 32 Heun steps of a guided pair, reckoned from its first ones, and
    what they take."""
    guided = (pair or Pair(base, InputNoise(0.1), InputNoise(0.2))).at(2.0)
    start = _start(batch)
    sigmas = edm_sigmas(STEPS, 0.002, 80).tolist()[: TIMED_STEPS + 1]
    if not REDUCED:
        torch.accelerator.empty_cache()
        torch.accelerator.reset_peak_memory_stats()
    # of an evaluation of both
    seconds = median_of(3, lambda: sample_chunk(guided, start, sigmas)) / (2 * TIMED_STEPS)
    images = batch / (seconds * (2 * STEPS - 1))
    show(f"{name}_images_per_second", images)
    show(f"{name}_share_of_peak", 2 * batch * flop / seconds / best)
    if not REDUCED:
        show(f"{name}_memory_gb", torch.accelerator.max_memory_allocated() / 1e9)


def scoring(checks: Checks, left: Left) -> None:
    """Images a second of resizing, features and float64 moments; what decoding takes; the Fréchet
    distance."""
    checks.run("frechet", _frechet)
    allow_tf32(False)  # as in a study
    for make in (_inception, _dinov2, _autoencoder):
        if left() < 10:
            print(f"# {make.__name__[1:]}: skipped, no time left", flush=True)
            continue
        checks.run(make.__name__[1:], make)
        if not REDUCED:
            torch.accelerator.empty_cache()


def _inception(checks: Checks) -> None:
    from torchvision.models import inception_v3

    from study.metrics.inception import Script

    with device():
        network = inception_v3(
            weights=None, aux_logits=False, init_weights=False, transform_input=False
        )
    network.fc = nn.Identity()
    script = nn.Module()
    script.layers = network
    _score("inception", Script(script, "clean", Path(), ""))


def _dinov2(checks: Checks) -> None:
    from study.metrics.dinov2 import DinoV2

    with device():
        network = DinoV2(32, 2, 2) if REDUCED else DinoV2()
        nn.init.normal_(network.pos_embed)
    _score("dinov2", network)


def _score(name: str, network: nn.Module) -> None:
    """Print images a second of a network of features, of images of 512 × 512, by batches and groups
    of moments."""
    from study.metrics import Tally
    from study.metrics.images import Images
    from study.metrics.tally import strata

    network = network.eval().requires_grad_(False)
    side, batches = (64, (4,)) if REDUCED else (512, (64, 256))
    for batch in batches:
        images = torch.randint(0, 256, (batch, 3, side, side), device=device()).byte()
        extractor = Images(name, "", network, most=batch).eval()
        with torch.inference_mode():
            features = median_of(3, lambda images=images, extractor=extractor: extractor(images))
        show(f"{name}_batch{batch}_features_per_second", batch / features)
        for groups in (1, 10):
            tally = Tally([extractor], strata(batch, groups=groups))
            scored = median_of(3, lambda images=images, tally=tally: tally.fold(images, 0))
            show(f"{name}_batch{batch}_groups{groups}_images_per_second", batch / scored)


@torch.inference_mode()
def _autoencoder(checks: Checks) -> None:
    """Images a second of an autoencoder of the size of Stable Diffusion's, which decodes EDM2's
    latents."""
    import diffusers

    from study.models.diffusers import VAEDecoder

    widths = (8, 16) if REDUCED else (128, 256, 512, 512)
    with device():
        vae = diffusers.AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=2,
            sample_size=512,
            norm_num_groups=8 if REDUCED else 32,
        ).eval()
        latents = torch.randn(2 if REDUCED else 32, *shape())
    decode = VAEDecoder(vae, torch.ones(1), torch.zeros(1), signed=False)
    show("decoder_images_per_second", len(latents) / median_of(3, lambda: decode(latents)))


def _frechet(checks: Checks) -> None:
    """The distance of two Gaussian fits, the root known: by LAPACK on the CPU, by the same formula
    on the device."""
    from study.metrics import FrechetReference

    d = 64 if REDUCED else 2048
    rng = np.random.default_rng(0)
    fits = [
        rng.standard_normal((4 * d, d)) @ (np.eye(d) + rng.standard_normal((d, d)) / d)
        for _ in range(2)
    ]
    (mean, covariance), (other, of_other) = (
        (fit.mean(0), np.cov(fit, rowvar=False)) for fit in fits
    )
    reference = FrechetReference(other, of_other)
    on_cpu = median_of(3, lambda: reference.distance(mean, covariance))
    moved = [torch.from_numpy(array).to(device()) for array in (mean, covariance, other, of_other)]
    root = torch.linalg.cholesky(moved[3], upper=True)

    def distance() -> Tensor:
        values = torch.linalg.eigvalsh(root @ moved[1] @ root.T).clamp(min=0)
        return (
            (moved[0] - moved[2]).square().sum()
            + moved[1].trace()
            + moved[3].trace()
            - 2 * values.sqrt().sum()
        )

    show("frechet_cpu_ms", 1000 * on_cpu)
    show("frechet_device_ms", 1000 * median_of(3, distance))
    expected = torch.tensor(reference.distance(mean, covariance), dtype=torch.float64)
    checks.at_most("frechet_difference", difference(distance(), expected), SAME)
