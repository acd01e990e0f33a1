"""Data sets of torchvision: found under the cache, or downloaded there."""

import gzip
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from degradations import InputError
from study.data.data_name import TORCHVISION, DataName
from study.data.listed import Array, Listed, square
from study.files.atomic import replacing

# Those of labelled images whose files torchvision compares with their published hashes.
NAMES = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "STL10", "SVHN")
SPLITS = ("train", "test")


def images_of(name: DataName, cache: Path) -> Listed:
    """The images of `torchvision:NAME`: those to train on, then those to test on, or of one split.

    Raises InputError for another name or split, and if they can be neither found nor downloaded;
    the message says where to put the files.
    """
    kind = name.place.removeprefix(TORCHVISION)
    if kind not in NAMES:
        raise InputError(
            f"data set '{name.place}': accepted: {', '.join(TORCHVISION + each for each in NAMES)}."
        )
    if name.split not in (None, *SPLITS):
        raise InputError(
            f"data set '{name}': found split {name.split}; accepted: {' or '.join(SPLITS)}."
        )
    sets = [_load(kind, split, cache) for split in SPLITS if name.split in (None, split)]
    labels = [int(each) for one in sets for each in (one.labels if kind in LABELS else one.targets)]
    grey = sets[0][0][0].mode == "L"

    def read() -> Iterator[tuple[str, Array | str]]:
        for one in sets:
            for row in range(len(one)):
                yield f"{name.place} {row}", square(one[row][0], name.size, grey)

    classes = getattr(sets[0], "classes", [str(each) for each in np.unique(labels)])
    return Listed(len(labels), read, labels, classes)


LABELS = ("STL10", "SVHN")  # which call their targets so


def _load(kind: str, split: str, cache: Path) -> Any:
    """A part of a data set, downloaded if it is missing."""
    from torchvision import datasets

    make = getattr(datasets, kind)
    part = (
        {"train": split == "train"} if "train" in signature(make).parameters else {"split": split}
    )
    for file in (cache / kind / "raw").glob("*.gz"):  # as they are published
        if not file.with_suffix("").exists():
            with gzip.open(file) as packed, replacing(file.with_suffix("")) as plain:
                plain.write_bytes(packed.read())
    try:
        return make(cache, download=False, **part)
    except RuntimeError:
        pass
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return make(cache, download=True, **part)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"data set '{TORCHVISION}{kind}': could not be downloaded ({str(error)[:200]}); put "
            f"its files into {cache} by hand, as torchvision's {kind} lays them out (see "
            f"https://docs.pytorch.org/vision/stable/datasets.html)."
        ) from None
