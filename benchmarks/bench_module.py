"""module_overhead: guided sampling through the Lightning module against a bare loop over the same
networks."""

from itertools import pairwise

import torch
from timing import ratio

from degradations import Dropout
from study.checkpoints import load_base
from study.lightning.sample import Job, PairSampler, collect
from study.sampling import Fixed, edm_sigmas, stratified

N, STEPS, WEIGHT = 1797, 32, 2.0


def main() -> None:
    base = load_base("digits", "digits")
    counts = base.data.counts
    assert counts is not None
    sigmas = edm_sigmas(STEPS, 0.002, 40).tolist()
    source = Fixed((N, 1, 8, 8), 600, stratified(counts, N))
    module = PairSampler(base.denoiser, Dropout(0.2), Dropout(0.4), sigmas=sigmas)
    d1, d0 = Dropout(0.2)(base.denoiser), Dropout(0.4)(base.denoiser)
    results: dict[str, torch.Tensor] = {}

    def ours() -> None:
        results["ours"] = collect(module, Job(source, 0, WEIGHT))

    @torch.inference_mode()
    def bare() -> None:
        """Heun's method, written out."""
        chunks = []
        for index in range(len(source)):
            noise, label, draws = source.start(0, index)
            theirs = draws.child("guide")
            x = noise * sigmas[0]
            for s, t in pairwise(sigmas):
                d = (
                    x - (WEIGHT * d1(x, s, label, draws) + (1 - WEIGHT) * d0(x, s, label, theirs))
                ) / s
                x_next = x + (t - s) * d
                if t > 0:
                    guided = WEIGHT * d1(x_next, t, label, draws) + (1 - WEIGHT) * d0(
                        x_next, t, label, theirs
                    )
                    x_next = x + (t - s) * (d + (x_next - guided) / t) / 2
                x = x_next
            chunks.append(x)
        results["bare"] = torch.cat(chunks)

    value = ratio(ours, bare, 9)
    torch.testing.assert_close(results["ours"], results["bare"], rtol=1e-3, atol=1e-3)
    print(f"module_overhead {value:.3f}")


if __name__ == "__main__":
    main()
