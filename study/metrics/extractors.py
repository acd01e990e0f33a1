"""Feature extractors: what a metric sees of a sample. A metric's name says which: `fd_pixels`, `fd_rff`, `fd_digits`.

Only Inception-v3 pool features may be called FID; none of these is.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from degradations import Refused
from study.checkpoints import fill, find


class Extractor(nn.Module, ABC):
    """Features [B, d] of samples [B, …], float32; `name` is part of the metric's name, `sha256` of its identity.

    d is known from the first features. Raises Refused for samples of another shape than it takes.
    """

    name: str
    sha256: str

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor | None:
        """What the extractor's classifier makes of features, [B, classes]; None of an extractor without one."""
        return None


class Pixels(Extractor):
    """The samples themselves, flattened: the identity."""

    name, sha256 = "pixels", "pixels"

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class RandomFourier(Extractor):
    """√(2/d)·cos(ωᵀx + φ), ω ~ N(0, I/h²) in equal parts for the bandwidths h, φ ~ U[0, 2π), drawn once, d = 256.

    For points in two dimensions. (Rahimi & Recht 2007)
    """

    name, sha256 = "rff", "rff: 256 features, bandwidths 1 0.3 0.1 0.03, seed 0"
    frequencies: Tensor
    phases: Tensor
    bandwidths = (1.0, 0.3, 0.1, 0.03)

    def __init__(self, features: int = 256) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        frequencies = torch.randn(2, features, generator=generator)
        scale = torch.tensor(self.bandwidths).repeat_interleave(features // len(self.bandwidths))
        self.register_buffer("frequencies", frequencies / scale)
        self.register_buffer("phases", 2 * math.pi * torch.rand(features, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (2,):
            raise Refused(f"extractor 'rff' takes points [n, 2], found samples of shape {list(x.shape[1:])}.")
        return math.sqrt(2 / len(self.phases)) * (x @ self.frequencies + self.phases).cos()


class DigitsNetwork(nn.Module):
    """A small convolutional classifier of 8×8 digits with a 64-d feature layer: logits [B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.SiLU(),
            nn.Flatten(), nn.Linear(1024, 64),
        )  # fmt: skip
        self.head = nn.Sequential(nn.SiLU(), nn.Dropout(0.3), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


class Digits(Extractor):
    """The 64 activations that the last layer of a classifier of the digits sees; it ships with the project."""

    name = "digits"

    def __init__(self) -> None:
        super().__init__()
        self.network = DigitsNetwork()
        self.sha256 = fill(self.network, find("digits-classifier", "classifier"))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (1, 8, 8):
            raise Refused(f"extractor 'digits' takes images [n, 1, 8, 8], found samples of shape {list(x.shape[1:])}.")
        return nn.functional.silu(self.network.body(x))

    def logits(self, features: Tensor) -> Tensor:
        return self.network.head[-1](features)


EXTRACTORS: dict[str, type[Extractor]] = {"digits": Digits, "pixels": Pixels, "rff": RandomFourier}


def load_extractor(name: str) -> Extractor:
    """The extractor of a name. Raises Refused for an unknown one."""
    if name not in EXTRACTORS:
        raise Refused(f"extractor '{name}': known are {', '.join(sorted(EXTRACTORS))}.")
    return EXTRACTORS[name]()
