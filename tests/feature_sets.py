"""Random features and their moments, and a stream of labelled samples in groups."""

import math

import numpy as np
import torch

from study.metrics import Moments, Pixels, Tally, strata

RNG = np.random.default_rng(0)


def features(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / math.sqrt(d) + rng.normal(size=d)


def moments(f: np.ndarray) -> Moments:
    found = Moments.zeros(f.shape[1])
    found.fold(torch.from_numpy(f))
    return found


class Sign(Pixels):
    """Takes a sample for 1 if its first element is above 0, and otherwise for 0."""

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return torch.stack([-features[:, 0], features[:, 0]], 1)


LABELS, DIVIDED = (
    torch.arange(103) % 2,
    torch.randn(103, 6, generator=torch.Generator().manual_seed(1)),
)


def divided(*chunks: tuple[int, int]) -> Tally:
    """A tally of some chunks, (first, end), of a stream in ten groups."""
    tally = Tally([Sign()], strata(103, LABELS))
    for first, end in chunks:
        tally.fold(DIVIDED[first:end], first, LABELS[first:end])
    return tally
