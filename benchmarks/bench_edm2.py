"""edm2_speedup: guided Heun sampling by EDM2-XS, ours against its formulas written down plainly
(plain_edm2.py).

The plain one normalises every weight in every call, forms attention maps by einsum, and evaluates
main and guide one after the other. Both start from the same noise, and their samples are compared.
On a CPU in fp32; on a GPU in fp16, ours compiled, and the share of the device's matrix peak, that
of a large product, is stated.
"""

from itertools import pairwise

import torch
from plain_edm2 import denoise
from timing import ratio, seconds
from torch import Tensor

from degradations import Guided
from study.models import EDM
from study.models.edm2 import EDM2UNet
from study.sampling import edm_sigmas, sample_chunk
from study.sampling.sources import PerSample

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = torch.float16 if GPU else torch.float32
BATCH, STEPS, REPEATS, WEIGHT, CLASSES = (32, 8, 7, 2.0, 1000) if GPU else (2, 3, 5, 2.0, 1000)


def network(seed: int) -> tuple[dict[str, Tensor], EDM]:
    """A random EDM2-XS for 64×64 latents: its raw tensors, and the denoiser that loaded them."""
    torch.manual_seed(seed)
    unet = EDM2UNet(64, 4, CLASSES, width=128)
    raw = {
        name: torch.ones([]) if "gain" in name else torch.randn_like(t)
        for name, t in unet.state_dict().items()
    }
    unet.load_state_dict(raw)
    denoiser = EDM(unet, 0.5).eval().requires_grad_(False).to(DEVICE)
    denoiser.network.use(DTYPE)
    return {name: tensor.to(DEVICE) for name, tensor in raw.items()}, denoiser


def main() -> None:
    (w1, d1), (w0, d0) = network(0), network(1)
    if GPU:
        for denoiser in (d1, d0):
            denoiser.network.compile()  # type: ignore[no-untyped-call]
    sigmas = edm_sigmas(STEPS, 0.002, 80).tolist()
    source = PerSample((BATCH, 4, 64, 64), BATCH, CLASSES, DEVICE)
    guided, found = Guided(d1, d0, WEIGHT), dict[str, Tensor]()

    def ours() -> None:
        found["ours"] = sample_chunk(guided, source.start(0, 0), sigmas).cpu()

    @torch.inference_mode()
    def plain() -> None:
        noise, label, _ = source.start(0, 0)
        assert label is not None
        onehot = torch.eye(CLASSES, device=DEVICE)[label]

        def denoised(x: Tensor, sigma: float) -> Tensor:
            s = torch.full((BATCH,), sigma, device=DEVICE)
            with torch.autocast(DEVICE, DTYPE, enabled=GPU):
                main, guide = denoise(w1, x, s, onehot), denoise(w0, x, s, onehot)
            return WEIGHT * main.float() + (1 - WEIGHT) * guide.float()

        x = noise * sigmas[0]
        for s, t in pairwise(sigmas):
            d = (x - denoised(x, s)) / s
            ahead = x + (t - s) * d
            x = ahead if t == 0 else x + (t - s) * (d + (ahead - denoised(ahead, t)) / t) / 2
        found["plain"] = x.cpu()

    value = 1 / ratio(ours, plain, REPEATS)
    difference = float((found["ours"] - found["plain"]).norm() / found["plain"].norm())
    assert difference < (0.05 if GPU else 1e-4), difference
    print(f"edm2_speedup {value:.2f}")
    print(f"edm2_relative_difference {difference:.1e}")
    a = torch.randn(4096, 4096, device=DEVICE, dtype=DTYPE)

    def product() -> None:
        (a @ a).sum().item()

    product()
    peak = 2 * 4096**3 / min(seconds(product) for _ in range(5))
    rate = 2 * (2 * STEPS - 1) * BATCH * 90e9 / min(seconds(ours) for _ in range(3))
    print(f"edm2_share_of_peak {rate / peak:.2f}")


if __name__ == "__main__":
    main()
