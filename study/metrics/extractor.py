"""The contract of a feature extractor, which determines a metric and its name: `fd_pixels`.

Only Inception-v3 pool features may be called FID: `fd_inception` is clean-fid's, `fd_inception_tf`
the one that most papers report, and `fd_dinov2` their FD_DINOv2.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor, nn

from study.files.cache import PublicFile


class Extractor(nn.Module, ABC):
    """Features [B, d] of samples [B, …], float32.

    `name` is part of the metric's name, `sha256` of its identity. file: its published weights, None
    if it needs none; dimensions: d, None if it depends on the samples or is not known beforehand.
    Raises InputError if the samples have a shape that it does not accept.
    """

    name: str
    sha256: str
    file: ClassVar[PublicFile | None] = None
    dimensions: ClassVar[int | None] = None

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """The extractor, with the weights of its file if it has one.

        Raises InputError if the file is damaged.
        """
        return cls()

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor | None:
        """The logits of the extractor's classifier from features, [B, classes].

        None for an extractor without a classifier.
        """
        return None
