"""Images and samples from outside: folders, zips and NPZ files, never unpickled, sizes checked."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from degradations import InputError
from study.files.atomic import replacing
from study.files.image_files import GREY, SUFFIXES, decoded, files_in, opened, pixels
from study.files.npz import Array, open_npz
from study.files.regular import check_regular
from study.files.zips import MOST_BYTES

MOST_NUMBERS, MOST_SAMPLE_BYTES = 2**24, 2**26  # of a sample in an NPZ
MOST_TOGETHER = 2**24  # bytes of images in a batch; as floats they take four times as many
ARRAYS = ("samples", "images", "x", "arr_0")


def batches(path: Path, size: int = 500) -> Iterator[Tensor]:
    """Batches [B, C, H, W] in [−1, 1], or of points [B, d], of a folder or zip of images or an NPZ.

    Images are u/127.5 − 1 of their 0…255 values, in the order of their names, in any subfolders, as
    in EDM's zips; B ≤ size, smaller for large images. They are read as clean-fid reads them, by
    Pillow's conversion to RGB: alpha is dropped, a palette looked up, CMYK mixed. If no image has
    colours, one of the three channels is returned, C = 1. An NPZ holds an array `samples` (or
    images, x, arr_0): uint8 images [n, H, W], [n, H, W, C], or floats, which are not changed.
    Memory does not grow with the number of samples. Raises InputError, naming the file, if the path
    is missing or empty, a file is not an image, there are latents (.npy), or images differ in size.
    """
    if os.path.isdir(path):
        yield from _images(path, size)
        return
    check_regular(path, MOST_BYTES)
    if path.suffix == ".npz":
        yield from _npz(path, size)
    elif zipfile.is_zipfile(path):
        yield from _images(path, size)
    else:
        raise InputError(
            f"{path}: found another file; accepted: a folder or zip of images "
            f"({', '.join(SUFFIXES)}), or an .npz of samples."
        )


def _images(path: Path, size: int) -> Iterator[Tensor]:
    batch: list[npt.NDArray[np.uint8]] = []
    first: tuple[str, tuple[int, ...]] | None = None
    # All are opened twice only if the first ones have no colours.
    grey = all(opened(name, content).mode in GREY for name, content in files_in(path))
    for name, image in decoded(files_in(path), partial(pixels, grey)):
        if first is None:
            first = name, image.shape
        if image.shape != first[1]:
            raise InputError(
                f"{name}: {_size_in_words(image.shape)}, but {first[0]} is "
                f"{_size_in_words(first[1])}; all must be alike."
            )
        batch.append(image)
        if len(batch) == size or (len(batch) + 1) * image.nbytes > MOST_TOGETHER:
            yield _to_tensor(batch)
            batch = []
    if first is None:
        raise InputError(f"{path}: no images in it (looked for {', '.join(SUFFIXES)}).")
    if batch:
        yield _to_tensor(batch)


def _npz(path: Path, size: int) -> Iterator[Tensor]:
    for part in npz_parts(path, size):
        if part.dtype == np.uint8:
            yield _to_tensor(list(part))
        else:
            yield torch.from_numpy(part.astype(np.float32, copy=False))


def npz_parts(path: Path, size: int) -> Iterator[npt.NDArray[Any]]:
    """The samples of an NPZ in parts of at most `size`: images, uint8 [n, H, W, C], or floats.

    Raises InputError as `batches` does.
    """
    with samples_of_npz(path) as array:
        together = max(min(size, MOST_TOGETHER // array.row_bytes), 1)
        for part in array.rows(together):
            if part.dtype != np.uint8 and not np.isfinite(part).all():
                raise InputError(f"{path}: '{array.name}' has entries that are not finite.")
            yield part[..., None] if part.dtype == np.uint8 and part.ndim == 3 else part


@contextmanager
def samples_of_npz(path: Path) -> Iterator[Array]:
    """The array of samples in an NPZ, its header read. Raises InputError if it holds none."""
    with open_npz(path) as arrays:
        name = next((name for name in ARRAYS if name in arrays.entries), None)
        if name is None:
            found = str(list(arrays.entries))[1:-1][:200] or "none"
            raise InputError(f"{path}: found arrays {found}; accepted: one of {', '.join(ARRAYS)}.")
        with arrays.open(name) as array:
            _check(path, array)
            yield array


def _check(path: Path, array: Array) -> None:
    """Raises InputError, by the header, if an array does not contain samples."""
    shape, dtype = array.shape, array.dtype
    if len(shape) < 2 or 0 in shape:
        raise InputError(
            f"{path}: '{array.name}' has shape {shape}; accepted: samples [n, …], n ≥ 1."
        )
    if dtype == np.uint8:
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
            raise InputError(
                f"{path}: '{array.name}' has shape {shape}; uint8 images are [n, H, W] or [n, H, "
                "W, 1 or 3]."
            )
    elif not np.issubdtype(dtype, np.floating):
        raise InputError(f"{path}: '{array.name}' is {dtype}; accepted: uint8 images or floats.")
    if array.row_bytes > min(MOST_NUMBERS * dtype.itemsize, MOST_SAMPLE_BYTES):
        raise InputError(
            f"{path}: '{array.name}' has shape {shape}, {dtype}; accepted: samples of at most "
            f"{MOST_NUMBERS} numbers and {MOST_SAMPLE_BYTES} bytes."
        )


def _to_tensor(images: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
    floats = np.empty((len(images), images[0].shape[2], *images[0].shape[:2]), np.float32)
    for index, image in enumerate(images):
        floats[index] = image.transpose(2, 0, 1)
    return torch.from_numpy(floats).div_(127.5).sub_(1)


def _size_in_words(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]} {'grey' if shape[2] == 1 else 'RGB'}"


def to_uint8(samples: Tensor) -> npt.NDArray[np.uint8]:
    """Images [n, C, H, W] in [−1, 1] as uint8 [n, H, W, C]: 127.5·x + 128, clipped and truncated.

    As in EDM's scripts.
    """
    pixels: npt.NDArray[np.uint8] = (
        (samples * 127.5 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    )
    return pixels


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write one image, uint8 [H, W] or [H, W, 1 or 3], as PNG, atomically."""
    with replacing(path) as part:
        Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(
            part
        )


def write_npz(path: Path, samples: Tensor) -> None:
    """Write samples unchanged, float32, to an NPZ under the name `samples`, atomically."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, samples=samples.numpy())
