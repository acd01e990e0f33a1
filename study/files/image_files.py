"""Image files from outside, in a folder or a zip: found, checked by their headers, decoded."""

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from degradations import InputError
from study.files.regular import check_regular
from study.files.zips import entry_name, open_zip, read_entry

T = TypeVar("T")
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
MOST_AHEAD = 2**25  # bytes of the images that are decoded ahead
THREADS = min(os.cpu_count() or 1, 8)


def decoded(
    files: Iterator[tuple[str, bytes]], convert: Callable[[str, Image.Image], T]
) -> Iterator[tuple[str, T]]:
    """What `convert` makes of the images of files, in order, a few of them ahead.

    In threads, since Pillow releases Python's lock.
    """
    ahead: deque[tuple[str, int, Future[T]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for name, content in files:
            image = opened(name, content)
            held = len(content) + 4 * image.width * image.height
            while ahead and (
                len(ahead) > 2 * THREADS or held + sum(each[1] for each in ahead) > MOST_AHEAD
            ):
                first, _, made = ahead.popleft()
                yield first, made.result()
            ahead.append((name, held, pool.submit(convert, name, image)))
        for name, _, made in ahead:
            yield name, made.result()


def files_in(path: Path) -> Iterator[tuple[str, bytes]]:
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


def opened(name: str, content: bytes) -> Image.Image:
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
        raise damaged(name, error) from None
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


def pixels(grey: bool, name: str, image: Image.Image) -> npt.NDArray[np.uint8]:
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
        raise damaged(name, error) from None


def damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name}: not a complete image ({type(error).__name__}: {str(error)[:200]}).")


def _tile(image: Image.Image) -> tuple[int, int]:
    """Width and height of a tile of a TIFF; (0, 0) for other images."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    width, height = (tags.get(tag, 0) for tag in (TILEWIDTH, TILELENGTH))
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)
