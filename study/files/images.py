"""Images and samples from outside: folders, zips and NPZ files, never unpickled, sizes checked."""

import io
import os
import warnings
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from torch import Tensor

from degradations import InputError
from study.files.atomic import replacing
from study.files.npz import Array, open_npz
from study.files.regular import check_regular
from study.files.zips import MOST_BYTES, entry_name, open_zip, read_entry

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
# Only the formats of these suffixes: of Pillow's others, PostScript starts a program, Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
# Pillow's modes without colours
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
LATENTS = ".npy"
MOST_PIXELS = 4096 * 4096
MOST_SIDE = 2**16  # some decoders need memory per row, not per pixel
MOST_IMAGE_BYTES = 3 * MOST_PIXELS + 2**20  # of its file
# A larger image with more than this many pixels per byte is flat, or made small to be accepted.
FLAT_PIXELS, FLAT_SHARE = 2**22, 128
MOST_NUMBERS, MOST_SAMPLE_BYTES = 2**24, 2**26  # of a sample in an NPZ
MOST_TOGETHER = 2**24  # bytes of images in a batch; as floats they take four times as many
MOST_AHEAD = 2**25  # bytes of the images that are decoded ahead
THREADS = min(os.cpu_count() or 1, 8)
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
    grey = all(_opened(name, content).mode in GREY for name, content in _files(path))
    for name, image in _decoded(_files(path), grey):
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


def _decoded(
    files: Iterator[tuple[str, bytes]], grey: bool
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """The images of files in order, a few decoded ahead, since Pillow releases Python's lock."""
    ahead: deque[tuple[str, int, Future[npt.NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for name, content in files:
            image = _opened(name, content)
            held = len(content) + 4 * image.width * image.height
            while ahead and (
                len(ahead) > 2 * THREADS or held + sum(each[1] for each in ahead) > MOST_AHEAD
            ):
                yield _result(ahead)
            ahead.append((name, held, pool.submit(_pixels, name, image, grey)))
        while ahead:
            yield _result(ahead)


def _result(
    ahead: "deque[tuple[str, int, Future[npt.NDArray[np.uint8]]]]",
) -> tuple[str, npt.NDArray[np.uint8]]:
    name, _, image = ahead.popleft()
    return name, image.result()


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(
            p for p in path.rglob("*") if p.suffix.lower() in (*SUFFIXES, LATENTS) and p.is_file()
        ):
            _reject_latents(str(file))
            check_regular(file, MOST_IMAGE_BYTES)
            yield str(file), file.read_bytes()
        return
    with open_zip(path) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            _reject_latents(entry_name(path, entry))
            if Path(entry.filename).suffix.lower() in SUFFIXES:
                yield entry_name(path, entry), read_entry(path, archive, entry, MOST_IMAGE_BYTES)


def _reject_latents(name: str) -> None:
    if name.lower().endswith(LATENTS):
        raise InputError(
            f"{name}: found an array, such as EDM2's latents; accepted: images "
            f"({', '.join(SUFFIXES)})."
        )


def _opened(name: str, content: bytes) -> Image.Image:
    """An image of which only the header was read. Raises InputError if it is none, or too large."""
    try:
        # about sizes, which are checked here, and about odd entries, which are not used
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise InputError(
            f"{name}: not a complete image of an accepted format ({', '.join(FORMATS)})."
        ) from None
    except Image.DecompressionBombError:
        raise InputError(f"{name}: too many pixels; accepted: at most {MOST_PIXELS}.") from None
    except Exception as error:  # from a damaged header of any of these formats
        raise _damaged(name, error) from None
    # The size of the image, and that of a tile, which a TIFF declares separately.
    for width, height in (image.size, _tile(image)):
        if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
            raise InputError(
                f"{name}: {width}×{height} pixels; accepted: at most {MOST_PIXELS}, {MOST_SIDE} "
                "per side."
            )
        if width * height > max(FLAT_PIXELS, FLAT_SHARE * len(content)):
            raise InputError(
                f"{name}: {width}×{height} pixels in {len(content)} bytes; accepted: at most "
                f"{FLAT_SHARE} pixels per byte above {FLAT_PIXELS} pixels."
            )
    return image


def _pixels(name: str, image: Image.Image, grey: bool) -> npt.NDArray[np.uint8]:
    """An image as [H, W, C]: C = 1 for one without colours if `grey`, else 3."""
    try:
        with image:
            if grey and image.mode == "L":
                return np.asarray(image)[..., None]
            if image.mode != "RGB":
                image.info.pop("transparency", None)  # dropped by the conversion, with a warning
                image = image.convert("RGB")
            return np.asarray(image) if not grey else np.asarray(image)[..., :1].copy()
    except Exception as error:  # as above
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name}: not a complete image ({type(error).__name__}: {str(error)[:200]}).")


def _tile(image: Image.Image) -> tuple[int, int]:
    """Width and height of a tile of a TIFF; (0, 0) for other images."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    width, height = (tags.get(tag, 0) for tag in (TILEWIDTH, TILELENGTH))
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


def _npz(path: Path, size: int) -> Iterator[Tensor]:
    with open_npz(path) as arrays:
        name = next((name for name in ARRAYS if name in arrays.entries), None)
        if name is None:
            found = str(list(arrays.entries))[1:-1][:200] or "none"
            raise InputError(f"{path}: found arrays {found}; accepted: one of {', '.join(ARRAYS)}.")
        with arrays.open(name) as array:
            _check(path, array)
            together = max(min(size, MOST_TOGETHER // array.row_bytes), 1)
            for part in array.rows(together):
                if part.dtype == np.uint8:
                    yield _to_tensor(list(part if part.ndim == 4 else part[..., None]))
                elif not np.isfinite(part).all():
                    raise InputError(f"{path}: '{name}' has entries that are not finite.")
                else:
                    yield torch.from_numpy(part.astype(np.float32, copy=False))


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
