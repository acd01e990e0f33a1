"""Names of data sets: what there is by name, and places with options."""

from dataclasses import dataclass, field
from pathlib import Path

from degradations import InputError

HUB, TORCHVISION = "hub:", "torchvision:"
MOST_SIDE = 4096
FORM = "FOLDER, FILE.zip, FILE.npz, torchvision:NAME or hub:ORG/NAME, then @size=N, @split=S"


@dataclass(frozen=True)
class DataName:
    """`photos@size=32`: a place, and what is done with its images.

    place: a folder of images (a subfolder for each class), a zip, an NPZ, `torchvision:NAME` or
    `hub:ORG/NAME`. size: the side of the square that images are cropped to and resized; None: they
    are taken as they are. split: of torchvision and the hub, by its name there; None: all. text:
    the whole name, as it is written. Raises InputError for another option or value.
    """

    place: str
    size: int | None = None
    split: str | None = None
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text or self.place

    @classmethod
    def parse(cls, text: str) -> "DataName":
        place, *options = text.split("@")
        values: dict[str, str] = {}
        for option in options:
            key, _, value = option.partition("=")
            if key not in ("size", "split") or not value or key in values:
                raise InputError(f"data set '{text}': found '@{option}'; accepted: {FORM}.")
            values[key] = value
        size = values.get("size")
        if size is not None and not (size.isdecimal() and 1 <= int(size) <= MOST_SIDE):
            raise InputError(
                f"data set '{text}': found size {size}; accepted: an integer from 1 to {MOST_SIDE}."
            )
        found = cls(place, None if size is None else int(size), values.get("split"), text)
        if found.split is not None and not found.is_published:
            raise InputError(
                f"data set '{text}': found split {found.split}; accepted: with {TORCHVISION} and "
                f"{HUB} alone."
            )
        return found

    @property
    def is_published(self) -> bool:
        """Whether its images are those that others publish, under a name."""
        return self.place.startswith((HUB, TORCHVISION))

    @property
    def path(self) -> Path:
        """Where its images are, if they are not published."""
        return Path(self.place)
