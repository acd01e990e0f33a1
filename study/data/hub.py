"""Data sets of the Hugging Face hub, by its library, an optional dependency."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from degradations import InputError
from study.data.data_name import HUB, DataName
from study.data.listed import Array, Listed, square
from study.files.image_files import GREY
from study.models.optional import optional


def images_of_hub(name: DataName, cache: Path) -> Listed:
    """The images of `hub:ORG/NAME`, with their classes, of all splits or of one.

    Raises InputError without the library, if they cannot be downloaded, and for a data set without
    a column of images.
    """
    sets = _load(name, cache)
    image = _column(sets[0], "Image")
    label = _column(sets[0], "ClassLabel")
    if image is None:
        raise InputError(
            f"data set '{name.place}': no column of images; found {', '.join(sets[0].features)}."
        )
    grey = all(one[row][image].mode in GREY for one in sets for row in range(len(one)))

    def read() -> Iterator[tuple[str, Array | str]]:
        for one in sets:
            for row in range(len(one)):
                place = f"{name.place} {one.split} {row}"
                try:
                    yield place, square(one[row][image].copy(), name.size, grey)
                except Exception as error:  # a damaged image can cause any error
                    yield place, f"{place}: not a complete image ({str(error)[:200]})."

    n = sum(map(len, sets))
    if label is None:
        return Listed(n, read)
    labels = [int(each) for one in sets for each in one[label]]
    if min(labels) < 0:  # as the hub marks what it keeps hidden
        raise InputError(
            f"data set '{name.place}': some images have no class; accepted: '@split=…' with a "
            f"split that has all, of {', '.join(str(one.split) for one in sets)}."
        )
    return Listed(n, read, labels, sets[0].features[label].names)


def _load(name: DataName, cache: Path) -> list[Any]:
    """The splits of a data set."""
    datasets = optional("datasets", "hub")
    place = name.place.removeprefix(HUB)
    try:
        found = datasets.load_dataset(place, split=name.split, cache_dir=str(cache / "hub"))
    except Exception as error:  # of the network, of the data set's own format, of a split's name
        raise InputError(
            f"data set '{name.place}': could not be loaded ({type(error).__name__}: "
            f"{str(error)[:200]})."
        ) from None
    return [found] if name.split else list(found.values())


def _column(one: Any, kind: str) -> str | None:
    """The first column of a kind."""
    named = (key for key, feature in one.features.items() if type(feature).__name__ == kind)
    return next(named, None)
