"""Images and samples from outside: folders, zips and NPZ files. Untrusted: nothing is unpickled, sizes are checked."""

import io
import os
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from degradations import Refused
from study.files.atomic import replacing

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
LATENTS = ".npy"
MOST_PIXELS = 4096 * 4096
MOST_BYTES = 8 * 2**30
MOST_TOGETHER = 2**26  # bytes of images in a batch; as floats they take four times as many
THREADS = min(os.cpu_count() or 1, 8)
ARRAYS = ("samples", "images", "x", "arr_0")


def batches(path: Path, size: int = 500) -> Iterator[Tensor]:
    """Batches [B, C, H, W] in [−1, 1], or of points [B, d], of a folder or zip of images, or of an NPZ.

    Images are u/127.5 − 1 of their 0…255 values, in the order of their names, grey or RGB as they are, in whatever
    folders, as in EDM's zips; B ≤ size, less where images are large. An NPZ holds an array `samples` (or images, x,
    arr_0): uint8 images [n, H, W], [n, H, W, C], or floats taken as they are. Raises Refused for a missing or empty
    place, for what is no image, for latents (.npy), and for images of mixed sizes or modes, naming the file.
    """
    if path.suffix == ".npz" and path.is_file():
        yield from _npz(path, size)
    elif path.is_dir() or (path.is_file() and zipfile.is_zipfile(path)):
        yield from _images(path, size)
    elif not path.exists():
        raise Refused(f"{path}: no such file or folder.")
    else:
        raise Refused(f"{path}: neither a folder nor a zip of images ({', '.join(SUFFIXES)}), nor an .npz of samples.")


def _images(path: Path, size: int) -> Iterator[Tensor]:
    batch: list[npt.NDArray[np.uint8]] = []
    first: tuple[str, tuple[int, ...]] | None = None
    for name, image in _decoded(_files(path)):
        if first is None:
            first = name, image.shape
        if image.shape != first[1]:
            raise Refused(f"{name}: {_say(image.shape)}, but {first[0]} is {_say(first[1])}; all must be alike.")
        batch.append(image)
        if len(batch) == size or len(batch) * image.nbytes >= MOST_TOGETHER:
            yield _to_tensor(np.stack(batch))
            batch = []
    if first is None:
        raise Refused(f"{path}: no images in it (looked for {', '.join(SUFFIXES)}).")
    if batch:
        yield _to_tensor(np.stack(batch))


def _decoded(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """The images of files in their order, a few decoded ahead: Pillow decodes without the interpreter's lock."""
    ahead: deque[tuple[str, Future[npt.NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for name, content in files:
            ahead.append((name, pool.submit(_decode, name, content)))
            if len(ahead) > 2 * THREADS:
                name, image = ahead.popleft()
                yield name, image.result()
        for name, image in ahead:
            yield name, image.result()


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in (*SUFFIXES, LATENTS) and p.is_file()):
            _refuse_latents(str(file))
            if file.stat().st_size > 4 * MOST_PIXELS:
                raise Refused(f"{file}: {file.stat().st_size} bytes, more than an image may have.")
            yield str(file), file.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            _refuse_latents(f"{path}: {info.filename}")
            if Path(info.filename).suffix.lower() in SUFFIXES:
                if info.file_size > 4 * MOST_PIXELS:
                    raise Refused(
                        f"{path}: {info.filename} unpacks to {info.file_size} bytes, more than an image may have."
                    )
                try:
                    yield f"{path}: {info.filename}", archive.read(info)
                except (zipfile.BadZipFile, OSError, RuntimeError) as error:
                    raise Refused(f"{path}: {info.filename} cannot be unpacked ({error}).") from None


def _refuse_latents(name: str) -> None:
    if name.lower().endswith(LATENTS):
        raise Refused(f"{name}: an array such as EDM2's latents; images ({', '.join(SUFFIXES)}) are wanted.")


def _decode(name: str, content: bytes) -> npt.NDArray[np.uint8]:
    """One image as [H, W, C], C = 1 or 3."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Refused(f"{name}: {image.width}×{image.height} pixels, more than the {MOST_PIXELS} accepted.")
            if image.mode not in ("L", "RGB"):
                raise Refused(f"{name}: mode {image.mode}; accepted are L (grey, 8 bit) and RGB.")
            pixels = np.asarray(image)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{name}: not a whole image ({error}).") from None
    return pixels if pixels.ndim == 3 else pixels[..., None]


@contextmanager
def open_npz(path: Path) -> Iterator[Any]:
    """The arrays of an NPZ file, never unpickled. Raises Refused for what is none, or unpacks to too much."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > MOST_BYTES:
            raise Refused(f"{path}: unpacks to {unpacked} bytes, more than the {MOST_BYTES} that are read.")
        with np.load(path, allow_pickle=False) as file:
            yield file
    except Refused:
        raise
    except (zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
        raise Refused(f"{path}: not a whole NPZ file ({error}).") from None


def _npz(path: Path, size: int) -> Iterator[Tensor]:
    try:
        with open_npz(path) as file:
            name = next((name for name in ARRAYS if name in file.files), None)
            if name is None:
                raise Refused(f"{path}: no array {', '.join(ARRAYS)} in it, found {', '.join(file.files) or 'none'}.")
            array = file[name]
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{path}: not a whole NPZ file ({error}).") from None
    if array.ndim < 2 or len(array) == 0:
        raise Refused(f"{path}: '{name}' has shape {array.shape}; samples [n, …] are wanted, n ≥ 1.")
    if array.dtype == np.uint8:
        array = array[..., None] if array.ndim == 3 else array
        if array.ndim != 4 or array.shape[3] not in (1, 3):
            raise Refused(f"{path}: '{name}' has shape {array.shape}; uint8 images are [n, H, W] or [n, H, W, 1 or 3].")
    elif not np.issubdtype(array.dtype, np.floating):
        raise Refused(f"{path}: '{name}' is {array.dtype}; uint8 images or floats are wanted.")
    elif not np.isfinite(array).all():
        raise Refused(f"{path}: '{name}' has entries that are not finite.")
    together = max(min(size, MOST_TOGETHER // max(array[0].nbytes, 1)), 1)
    for start in range(0, len(array), together):
        part = array[start : start + together]
        yield _to_tensor(part) if part.dtype == np.uint8 else torch.from_numpy(part.astype(np.float32))


def _to_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _say(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]} {'grey' if shape[2] == 1 else 'RGB'}"


def to_uint8(samples: Tensor) -> npt.NDArray[np.uint8]:
    """Images [n, C, H, W] in [−1, 1] as uint8 [n, H, W, C]: 127.5·x + 128, clipped and truncated (as EDM's scripts)."""
    pixels: npt.NDArray[np.uint8] = (samples * 127.5 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return pixels


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """One image, uint8 [H, W] or [H, W, 1 or 3], as PNG, whole or not at all."""
    with replacing(path) as part:
        Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(part)


def write_npz(path: Path, samples: Tensor) -> None:
    """Samples as they are, float32, in an NPZ under the name `samples`, whole or not at all."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, samples=samples.numpy())
