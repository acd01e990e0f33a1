"""Files of extractors with small networks in the place of Inception-v3, and images for them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

BYTES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


class Layers(nn.Module):
    """A network of images [B, 3, 299, 299], normalised, with 64 features [B, 64, 1, 1], or another
    number of them."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 16, 9, 8), nn.Conv2d(16, features, 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).relu()).relu().mean([2, 3], True)


class StandIn(nn.Module):
    """What NVIDIA's script has: `layers`, and a forward that resizes for itself and gives features
    if asked to."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.layers = Layers(features)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        x = torch.nn.functional.interpolate(
            img, size=[299, 299], mode="bilinear", align_corners=True
        )
        features = self.layers((x - 128) / 128).flatten(1)
        return features if return_features else features[:, :5]


def make(path: Path, module: nn.Module) -> str:
    """Writes a TorchScript and gives its SHA-256."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.2)
    torch.jit.script(module).save(str(path))  # type: ignore[no-untyped-call]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cards(folder: Path, network: nn.Module | None = None) -> Callable[..., str]:
    """What writes the card of a network into a folder, with some entries otherwise, and gives its
    path."""
    digest = make(folder / "net.pt", network or StandIn())

    def write(name: str = "mine", **entries: Any) -> str:
        path = folder / f"{name}.json"
        content = {
            "kind": "extractor",
            "file": "net.pt",
            "sha256": digest,
            "mode": "clean",
        } | entries
        path.write_text(
            json.dumps({key: value for key, value in content.items() if value is not None})
        )
        return str(path)

    return write


def folders(where: Path) -> tuple[Path, Path]:
    """Two folders of 40 images each, smooth and not."""
    rng = np.random.default_rng(0)
    for name, small in (("a", 4), ("b", 8)):
        (where / name / "in").mkdir(parents=True)
        for index in range(40):
            image = Image.fromarray(rng.integers(0, 256, (small, small, 3), dtype=np.uint8)).resize(
                (32, 32)
            )
            image.save(where / name / "in" / f"{index:03}.png")
    return where / "a", where / "b"
