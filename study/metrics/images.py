"""Features of images by a network, for samples converted as if they were written to files."""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from degradations import InputError
from study.metrics.extractor import Extractor

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

    @classmethod
    def load(cls, path: Path | None) -> Self:
        assert path is not None
        assert cls.file is not None
        digest = str(cls.file.sha256)
        return cls(cls.name, digest, cls.network_of(path, digest))

    @classmethod
    def network_of(cls, path: Path, sha256: str) -> nn.Module:
        """The network in the published file. Raises InputError if the file is damaged."""
        raise NotImplementedError

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
