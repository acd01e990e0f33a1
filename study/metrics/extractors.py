"""Feature extractors, which determine a metric and its name: `fd_pixels`, `fd_rff`, `fd_digits`.

Only Inception-v3 pool features may be called FID: `fd_inception` is clean-fid's, `fd_inception_tf`
the one that most papers report, and `fd_dinov2` their FD_DINOv2.
"""

import math
import re
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor, nn

from degradations import InputError
from study.checkpoints import CACHE, fill, find
from study.checkpoints.weights import MOST_CARD
from study.files.cache import PublicFile, obtain
from study.files.regular import read_json
from study.metrics.dinov2 import DINOV2, load_dinov2
from study.metrics.inception import INCEPTION, MODES, load_script


class Extractor(nn.Module, ABC):
    """Features [B, d] of samples [B, …], float32.

    `name` is part of the metric's name, `sha256` of its identity. d is known from the first
    features. Raises InputError if the samples have a shape that it does not accept.
    """

    name: str
    sha256: str

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor | None:
        """The logits of the extractor's classifier from features, [B, classes].

        None for an extractor without a classifier.
        """
        return None


class Pixels(Extractor):
    """The samples themselves, flattened; 8-bit images u, such as those of files, as u/127.5 − 1."""

    name, sha256 = "pixels", "pixels"

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x).flatten(1)


class RandomFourier(Extractor):
    """√(2/d)·cos(ωᵀx + φ), ω ~ N(0, I/h²), φ ~ U[0, 2π), drawn once, d = 256.

    The bandwidths h have equal numbers of features. For points in two dimensions. (Rahimi & Recht
    2007)
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
            raise InputError(
                f"extractor 'rff': found samples of shape {list(x.shape[1:])}; accepted: [n, 2]."
            )
        return math.sqrt(2 / len(self.phases)) * (x @ self.frequencies + self.phases).cos()


class DigitsNetwork(nn.Module):
    """A small convolutional classifier of 8×8 digits with a 64-d feature layer: logits [B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, padding=1, stride=2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(1024, 64),
        )
        self.head = nn.Sequential(nn.SiLU(), nn.Dropout(0.3), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


class Digits(Extractor):
    """The 64 activations before the last layer of a classifier of the digits.

    It ships with the project.
    """

    name = "digits"

    def __init__(self) -> None:
        super().__init__()
        self.network = DigitsNetwork()
        self.sha256 = fill(self.network, find("digits-classifier", "classifier"))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (1, 8, 8):
            raise InputError(
                f"extractor 'digits': found samples of shape {list(x.shape[1:])}; accepted: images "
                "[n, 1, 8, 8]."
            )
        return nn.functional.silu(self.network.body(x))

    def logits(self, features: Tensor) -> Tensor:
        return self.network.head[-1](features)


# images of 299 × 299 that fit in a CPU's cache: with more, resizing and features take twice as long
CACHED = 16


class Images(Extractor):
    """Features by a network of images, of samples converted as if they were written to 8-bit files.

    Samples are images [B, 3 or 1, H, W], grey ones repeated three times: uint8, or floats in [−1,
    1], which are quantised to 127.5·x + 128, clipped to 0…255 and truncated, as the scripts of EDM
    write them. The network receives floats of 0…255, [b, 3, H, W], with b small, so that memory
    does not grow with B. The features of an image that is not finite are not finite. Raises
    InputError if the samples are not images.
    """

    def __init__(self, name: str, sha256: str, network: nn.Module, most: int = 64) -> None:
        super().__init__()
        self.name, self.sha256, self.network, self.most = name, sha256, network, most

    def forward(self, x: Tensor) -> Tensor:
        if (
            x.ndim != 4
            or x.shape[1] not in (1, 3)
            or not (x.is_floating_point() or x.dtype == torch.uint8)
        ):
            raise InputError(
                f"extractor '{self.name}': found samples of shape {list(x.shape)}, {x.dtype}; "
                "accepted: images [n, 3 or 1, H, W], uint8 or floats."
            )
        most = min(self.most, CACHED) if x.device.type == "cpu" else self.most
        return torch.cat([self._features(part) for part in torch.split(x, most)])

    def _features(self, x: Tensor) -> Tensor:
        images = x if x.dtype == torch.uint8 else (x.float() * 127.5 + 128).clamp(0, 255).byte()
        features: Tensor = self.network(images.float().expand(-1, 3, -1, -1)).float()
        if x.is_floating_point():  # quantisation would hide that they are not finite
            features[~x.flatten(1).isfinite().all(1)] = torch.nan
        return features


EXTRACTORS: dict[str, type[Extractor]] = {"digits": Digits, "pixels": Pixels, "rff": RandomFourier}
# These need a published file; their names are reserved.
PUBLIC: dict[str, PublicFile] = {
    "dinov2": DINOV2,
    "inception": INCEPTION,
    "inception_tf": INCEPTION,
}


def load_extractor(name: str, root: Path = Path("mlruns")) -> Extractor:
    """The extractor of a name, or of a card of the user's own, a .json file.

    Published weights are in root/cache. A card mine.json, {"kind": "extractor", "file": "net.pt",
    "sha256": "…", "mode": "clean"}, declares a trusted TorchScript beside it, called like
    `inception` (mode clean) or `inception_tf` (mode tf); its metric is `fd_mine`. Raises InputError
    if the name is unknown, a file is damaged or cannot be obtained, or the card is not valid.
    """
    if name.endswith(".json"):
        return _of_card(Path(name))
    if name in EXTRACTORS:
        return EXTRACTORS[name]()
    files = files_of(name)
    path, digest = obtain(files[0], root / CACHE), str(files[0].sha256)
    if name == "dinov2":
        return Images(name, digest, load_dinov2(path))
    return Images(
        name, digest, load_script(path, digest, "tf" if name == "inception_tf" else "clean")
    )


def files_of(name: str) -> list[PublicFile]:
    """The public files that an extractor needs in root/cache.

    Raises InputError if the name is unknown.
    """
    if name in EXTRACTORS or name.endswith(".json"):
        return []
    if name not in PUBLIC:
        known = f"{', '.join(sorted(EXTRACTORS))}, of images {', '.join(sorted(PUBLIC))}"
        raise InputError(
            f"extractor: found '{name}'; accepted: {known}, and the path of a card, a .json file."
        )
    return [PUBLIC[name]]


def _of_card(path: Path) -> Extractor:
    wanted, name = ("file", "sha256", "mode"), path.stem
    card = read_json(path, MOST_CARD, "not the card of an extractor")
    try:
        if not isinstance(card, dict) or card.get("kind") != "extractor":
            raise ValueError('accepted: an object with "kind": "extractor"')
        if not all(isinstance(card.get(key), str) for key in wanted) or card.keys() - {
            "kind",
            *wanted,
        }:
            raise ValueError(
                f"found {', '.join(card)[:200]}; accepted: {', '.join(wanted)}, all of them text"
            )
        file, digest, mode = (str(card[key]) for key in wanted)
    except ValueError as error:
        raise InputError(f"{path}: not the card of an extractor ({error}).") from None
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in {*EXTRACTORS, *PUBLIC}:
        raise InputError(
            f"{path}: found name '{name[:80]}'; accepted: small letters, digits and _, other than "
            "the name of a known extractor."
        )
    if mode not in MODES:
        raise InputError(f"{path}: found mode '{mode[:80]}'; accepted: {' or '.join(MODES)}.")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise InputError(
            f"{path}: found sha256 '{digest[:80]}'; accepted: 64 hexadecimal digits, in small "
            "letters."
        )
    return Images(name, f"{digest} {mode}", load_script(path.parent / file, digest, mode))
