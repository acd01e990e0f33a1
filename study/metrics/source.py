"""What a name in `reference:` stands for: a data set, statistics, or samples in files."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from torch import Tensor

from degradations import InputError
from study.checkpoints import CACHE, find_statistics, near, public_statistics
from study.data import DATA, is_data, load_data
from study.files.images import batches
from study.metrics.reference import Reference

BATCH = 500  # samples of a data set at a time


class Source(Enum):
    """What a name stands for. MISSING: a path at which there is nothing."""

    DATA = "a data set"
    PUBLISHED = "published statistics"
    STATISTICS = "a file of statistics"
    SAMPLES = "images or samples in files"
    MISSING = "a path at which there is nothing"


def source_of(name: str) -> Source:
    """What a name stands for. Raises InputError for an unknown name that is no path either."""
    path = Path(name)
    if is_data(name):
        return Source.DATA
    if find_statistics(name) is not None:
        return Source.PUBLISHED
    if path.exists():
        return Source.STATISTICS if Reference.is_one(path) else Source.SAMPLES
    if path.suffix or "/" in name:
        return Source.MISSING
    raise unknown(name)


def unknown(name: str) -> InputError:
    """The error for a name that stands for nothing, with names that may have been meant."""
    alike = near(name, sorted(DATA))
    meant = (
        f"did you mean {' or '.join(alike)}?"
        if alike
        else f"data sets are {', '.join(sorted(DATA))}, published statistics are "
        f"{', '.join(public_statistics())}."
    )
    return InputError(
        f"reference '{name}': not a data set, published statistics, a file or a folder; {meant}"
    )


def samples_of(name: str, batch: int = BATCH, root: Path = Path("mlruns")) -> Iterator[Tensor]:
    """The samples of a data set, kept under root/cache, or of files, in batches [n, …].

    Raises InputError for names of statistics and unknown ones, and as `batches` does.
    """
    source = source_of(name)
    if source is Source.DATA:
        return load_data(name, root / CACHE).batches(batch)
    if source is Source.PUBLISHED:
        raise InputError(f"'{name}': found {source.value}; accepted: {Source.SAMPLES.value}.")
    return batches(Path(name), batch)
