"""pair_batch_speedup, pair_share_speedup: main and guide around one network in one batch, and with
one evaluation for both where they ask the same, against one after the other.

Guided evaluations of the digits base. In one batch: classifier-free guidance, of 16, 64 and 256
samples; the middle one is quoted, the others go to stderr. Shared: a larger score, of 600 samples.
"""

import sys

import torch
from timing import ratio

from degradations import Draws, Pair
from study.checkpoints import load_base

EVALUATIONS = {16: 400, 64: 200, 256: 60, 600: 30}


@torch.inference_mode()
def speedup(guide: str, n: int) -> float:
    """The time of evaluations one after the other over that of evaluations together."""
    base = load_base("digits-cfg", "digits")
    together, apart = (Pair(base.denoiser, "none", guide).at(2.0) for _ in range(2))
    apart.together = None
    x, label = torch.randn(n, 1, 8, 8), torch.arange(n) % 10

    def run(denoiser: torch.nn.Module) -> None:
        for _ in range(EVALUATIONS[n]):
            denoiser(x, 1.0, label, Draws(0))

    return ratio(lambda: run(apart), lambda: run(together), 9)


def main() -> None:
    for n in (16, 256):
        print(f"{n} samples: {speedup('label-drop(1)', n):.2f}", file=sys.stderr)
    print(f"pair_batch_speedup {speedup('label-drop(1)', 64):.2f}")
    print(f"pair_share_speedup {speedup('score(-1)', 600):.2f}")


if __name__ == "__main__":
    main()
