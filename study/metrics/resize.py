"""The resizing of clean-fid's mode "clean" (Parmar et al. 2022): Pillow's antialiased bicubic."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 299  # what Inception-v3 takes


def clean_resize(images: Tensor) -> Tensor:
    """Images [B, C, H, W] of 0…255 at 299 × 299, float32, as Pillow resizes each channel.

    Clipped to 0…255. A separable filter is a matrix on either side, A_H·x·A_Wᵀ, which agrees with
    Pillow, and so with clean-fid's resizer (`inception.py` says why that is not used), to 1e-4. To
    shrink large images on a CPU Pillow itself is used, which is faster because it skips the
    matrices' zeros.
    """
    height, width = images.shape[2:]
    if images.device.type == "cpu" and max(height, width) > SIDE:
        return _by_pillow(images)
    rows, columns = (_matrix(size).to(images.device) for size in (height, width))
    return (rows @ images.float() @ columns.T).clamp(0, 255)


@lru_cache(maxsize=16)
def _matrix(size: int) -> Tensor:
    """The matrix of Pillow's resizing of a column, [299, size], from its result for each pixel."""
    return _pillow(torch.eye(size), (size, SIDE))


def _by_pillow(images: Tensor) -> Tensor:
    # Pillow releases the interpreter's lock
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        channels = list(pool.map(_pillow, images.float().flatten(0, 1)))
    return torch.stack(channels).view(*images.shape[:2], SIDE, SIDE).clamp_(0, 255)


def _pillow(channel: Tensor, size: tuple[int, int] = (SIDE, SIDE)) -> Tensor:
    # float32 is Pillow's mode F
    resized = Image.fromarray(channel.numpy()).resize(size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized))
