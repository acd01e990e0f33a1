"""From what a denoiser works on to images."""

from abc import ABC, abstractmethod

from torch import Tensor


class Decoder(ABC):
    """Samples in latent space, [B, …], to 8-bit images, uint8 [B, 3, H, W], where they are; sha256:
    of its files."""

    sha256: str

    @abstractmethod
    def __call__(self, samples: Tensor) -> Tensor:
        raise NotImplementedError
