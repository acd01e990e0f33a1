"""Decoders of latents to images."""

from abc import ABC, abstractmethod

from torch import Tensor


class Decoder(ABC):
    """Maps samples in latent space, [B, …], to 8-bit images, uint8 [B, 3, H, W], on their device.

    sha256: of its files.
    """

    sha256: str

    @abstractmethod
    def __call__(self, samples: Tensor) -> Tensor:
        raise NotImplementedError
