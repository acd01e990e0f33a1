"""Features of a classifier of the digits, which ships with the project."""

from typing import ClassVar

from torch import Tensor, nn

from degradations import InputError
from study.checkpoints import fill, find
from study.metrics.extractor import Extractor


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
    dimensions: ClassVar[int | None] = 64

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
