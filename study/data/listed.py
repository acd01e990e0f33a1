"""What a place of images holds, before they are read: how many, and of which classes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from degradations import InputError

Array = npt.NDArray[np.uint8]  # of an image, [H, W, C]; of samples that are no images, floats
MOST_NAMED = 1000  # files that one message names


@dataclass(frozen=True)
class Listed:
    """n samples; labels: their classes, in 0…len(classes) − 1.

    read: gives them in order, by name, with a sentence in place of one that cannot be read.
    """

    n: int
    read: Callable[[], Iterator[tuple[str, Array | str]]]
    labels: Sequence[int] | None = None
    classes: Sequence[str] = ()


def reject(place: str, problems: Sequence[str], n: int) -> None:
    """Raises InputError, naming all of them, if there are problems with some of n files."""
    if problems:
        more = len(problems) - MOST_NAMED
        lines = [*problems[:MOST_NAMED], *([f"and {more} more."] if more > 0 else [])]
        raise InputError(
            f"{place}: {len(problems)} of {n} images cannot be used:\n  " + "\n  ".join(lines)
        )


def square(image: Image.Image, size: int | None, grey: bool) -> Array:
    """An image as uint8 [H, W, C], C = 1 if grey, else 3.

    16 bits are rounded to 8, u/257. size: it is cropped to the square in its centre, then resized
    to size × size by Pillow's Lanczos filter. Raises InputError for floating-point pixels.
    """
    if image.mode == "F":
        raise InputError("has floating-point pixels; accepted: 8 or 16 bits.")
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.float64)
        image = Image.fromarray((deep / 257).round().clip(0, 255).astype(np.uint8))
    mode = "L" if grey else "RGB"
    if image.mode != mode:
        image.info.pop("transparency", None)  # dropped by the conversion, with a warning
        image = image.convert(mode)
    if size is not None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    found: Array = np.asarray(image)
    return found[..., None] if grey else found
