"""The samples themselves as features."""

import torch
from torch import Tensor

from study.metrics.extractor import Extractor


class Pixels(Extractor):
    """The samples themselves, flattened; 8-bit images u, such as those of files, as u/127.5 − 1."""

    name, sha256 = "pixels", "pixels"

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x).flatten(1)
