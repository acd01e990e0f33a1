"""Samples of an NPZ, with their labels if it has an array of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from degradations import InputError
from study.data.folders import MOST_CLASSES
from study.data.listed import Array, Listed, square
from study.files.images import npz_parts, samples_of_npz
from study.files.npz import open_npz

LABELS = "labels"
TOGETHER = 500


def samples_in(path: Path, size: int | None) -> Listed:
    """The samples of an NPZ: uint8 images, or floats of any shape, which are not changed.

    Raises InputError if it holds none, for a size that floats are to be resized to, and for labels
    that are not one class a sample.
    """
    with samples_of_npz(path) as array:
        n, is_image, name = array.shape[0], array.dtype == np.uint8, array.name
        channels = array.shape[3] if len(array.shape) == 4 else 1
    if size is not None and not is_image:
        raise InputError(
            f"{path}: '{name}' holds floats, which are not resized; accepted: no '@size={size}'."
        )

    def read() -> Iterator[tuple[str, Array | str]]:
        row = 0
        for part in npz_parts(path, TOGETHER):
            for sample in part:
                yield f"{path}: '{name}' {row}", _resized(sample, size) if is_image else sample
                row += 1

    def _resized(sample: Array, to: int | None) -> Array:
        if to is None:
            return sample
        grey = channels == 1
        return square(Image.fromarray(sample[..., 0] if grey else sample), to, grey)

    labels = _labels(path, n)
    classes = 0 if labels is None else max(labels) + 1
    return Listed(n, read, labels, [str(label) for label in range(classes)])


def _labels(path: Path, n: int) -> list[int] | None:
    with open_npz(path) as arrays:
        if LABELS not in arrays.entries:
            return None
        found = arrays.numbers(LABELS, (n,))
    if not ((found == found.round()) & (found >= 0) & (found < MOST_CLASSES)).all():
        raise InputError(
            f"{path}: '{LABELS}': accepted: integers from 0 to {MOST_CLASSES - 1}, one a sample."
        )
    return [int(label) for label in found]
