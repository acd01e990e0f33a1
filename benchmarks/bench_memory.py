"""scoring_memory: growth of resident memory while scoring 100 000 against 10 000 samples of 2048-d
features."""

import os
import subprocess
import sys

import psutil
import torch

from study.metrics import Pixels, Tally, references, scores

D, CHUNK = 2048, 500


def grow(n: int) -> int:
    """Bytes by which resident memory, looked at after every chunk, rose at most while scoring n
    samples."""
    extractor = Pixels()
    reference = references(torch.randn(4096, D), [extractor])
    _ = reference["pixels"].frechet.root
    process = psutil.Process()
    before = most = process.memory_info().rss
    tally, generator = Tally([extractor]), torch.Generator().manual_seed(0)
    for first in range(0, n, CHUNK):
        tally.fold(torch.randn(CHUNK, D, generator=generator), first)
        most = max(most, process.memory_info().rss)
    scores(tally, reference)
    return max(most, process.memory_info().rss) - before


def main() -> None:
    if len(sys.argv) > 1:
        print(grow(int(sys.argv[1])))
        return
    # The allocator is told to give back what is freed; otherwise its own habits are measured, to a
    # factor of two.
    habits = {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
    growth = [
        int(
            subprocess.run(
                [sys.executable, __file__, str(n)],
                env={**os.environ, **habits},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for n in (10_000, 100_000)
    ]
    print(f"scoring_memory {growth[1] / growth[0]:.3f}")


if __name__ == "__main__":
    main()
