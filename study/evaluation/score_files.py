"""References by name, and scores of images and samples in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from degradations import InputError
from study.checkpoints import CACHE, find_statistics, near, public_statistics
from study.data import DATA, load_data
from study.files.cache import PublicFile, obtain
from study.files.images import batches, to_uint8
from study.metrics import (
    Extractor,
    Reference,
    Tally,
    load_extractor,
    references,
    scores,
    size_curves,
    strata,
)
from study.metrics.clean_fid import verifiable, verify
from study.metrics.reference import stream_references
from study.metrics.tally import GROUPS
from study.parallel.device import device
from study.records.statistics import extrapolate


def score_files(
    path: Path,
    reference: str,
    extractor: str,
    extrapolated: bool = False,
    root: Path = Path("mlruns"),
    verified: bool = False,
) -> dict[str, Any]:
    """The distances of images or samples in files to a reference of `references_of`.

    extrapolated: also FD against the number of samples, and its limit FD∞ with an interval at 95 %.
    verified: also the score that clean-fid computes of the same images, under "verified". Raises
    InputError for files without samples, for a reference of another extractor or shape, and, if
    verified, for an extractor that clean-fid cannot run.
    """
    chosen = load_extractor(extractor, root).eval()
    if verified:
        verifiable([chosen])
    compared = references_of(reference, [chosen], root)[chosen.name]
    tally = _tally_of(path, chosen, compared, grouped=extrapolated)
    n = tally.moments[chosen.name].n
    if extrapolated and n < 2 * GROUPS:
        raise InputError(f"{path}: found {n} samples; extrapolation needs at least {2 * GROUPS}.")
    found: dict[str, Any] = {"samples": n, "reference": reference, "reference n": compared.n}
    found |= scores(tally, {chosen.name: compared})
    for metric, (curve, *without) in (
        size_curves(tally, {chosen.name: compared}).items() if extrapolated else ()
    ):
        limit = extrapolate(curve, without)
        found |= {f"{metric} of {n:.0f}": value for n, value in curve}
        found |= {f"{metric}_inf": limit.mean, f"{metric}_inf_ci": [limit.low, limit.high]}
    if verified:
        images = (to_uint8(batch) for batch in batches(path))
        found["verified"] = verify(images, chosen, compared, found[f"fd_{chosen.name}"], device())
    return found


def references_of(name: str, extractors: Sequence[Extractor], root: Path) -> dict[str, Reference]:
    """The reference of a name for each extractor.

    name: a data set, published statistics (cached under root/cache), a file of statistics, or
    images or samples in files. Raises InputError for anything else, and for statistics of other
    extractors.
    """
    if name in DATA:
        return references(load_data(name).samples, extractors)
    known = find_statistics(name)
    if known is not None:
        files = statistics_files(name, [extractor.name for extractor in extractors])
        paths = {extractor: obtain(file, root / CACHE) for extractor, file in files.items()}
        return {
            each.name: Reference.load(paths[each.name], each, known.size) for each in extractors
        }
    path = Path(name)
    if not path.exists():
        raise InputError(
            f"reference '{name}': not a data set, published statistics, a file or a folder; "
            f"{_near(name)}"
        )
    if Reference.is_one(path):
        return {extractor.name: Reference.load(path, extractor) for extractor in extractors}
    return stream_references((batch.to(device()) for batch in batches(path)), extractors)


def statistics_files(name: str, extractors: Sequence[str]) -> dict[str, PublicFile]:
    """The files of published statistics by extractor; empty for a name of no published statistics.

    Raises InputError for extractors of which the name has no statistics.
    """
    known = find_statistics(name)
    if known is None:
        return {}
    for extractor in extractors:
        if extractor not in known.files:
            raise InputError(
                f"reference '{name}': found the extractor '{extractor}'; statistics are published "
                f"of {' and '.join(known.files)}."
            )
    return {extractor: known.files[extractor] for extractor in extractors}


def _near(name: str) -> str:
    """Suggestions for an unknown name of a reference: similar names, or else all names."""
    alike = near(name, sorted(DATA))
    if alike:
        return f"did you mean {' or '.join(alike)}?"
    return (
        f"data sets are {', '.join(sorted(DATA))}, published statistics are "
        f"{', '.join(public_statistics())}."
    )


def _tally_of(path: Path, extractor: Extractor, compared: Reference, grouped: bool) -> Tally:
    """A tally of files; grouped: in groups by index modulo ten, which reads the files twice."""
    n = sum(len(batch) for batch in batches(path)) if grouped else 0
    tally, first = Tally([extractor], strata(n) if grouped else None), 0
    for batch in batches(path):
        compared.require_size(batch)
        tally.fold(batch.to(device()), first)
        first += len(batch)
    if first < 2:
        raise InputError(f"{path}: found {first} samples; at least 2 are needed.")
    return tally
