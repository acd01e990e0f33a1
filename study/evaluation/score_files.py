"""References by name, and scores of images and samples in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from degradations import InputError
from study.checkpoints import CACHE, find_statistics
from study.data import load_data
from study.files.cache import PublicFile, obtain
from study.files.images import batches, to_uint8
from study.metrics import (
    Extractor,
    Reference,
    Tally,
    load_extractor,
    scores,
    size_curves,
    strata,
    stream_references,
)
from study.metrics.clean_fid import verifiable, verify
from study.metrics.source import Source, samples_of, source_of, unknown
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
    match source_of(name):
        case Source.DATA:
            return stream_references(load_data(name, root / CACHE).batches(), extractors)
        case Source.PUBLISHED:
            known, files = (
                find_statistics(name),
                statistics_files(name, [e.name for e in extractors]),
            )
            assert known is not None
            paths = {each: obtain(file, root / CACHE) for each, file in files.items()}
            return {e.name: Reference.load(paths[e.name], e, known.size) for e in extractors}
        case Source.STATISTICS:
            return {e.name: Reference.load(Path(name), e) for e in extractors}
        case Source.SAMPLES:
            return stream_references(
                (x.to(device()) for x in samples_of(name, root=root)), extractors
            )
        case Source.MISSING:
            raise unknown(name)


def write_reference(
    data: str,
    out: Path,
    extractor: str,
    root: Path = Path("mlruns"),
    device: torch.device | None = None,
) -> Reference:
    """Write the statistics of images or samples in files, or of a named data set, for an extractor.

    out: an .npz. device: where the extractor runs, by default the CPU. Raises InputError as
    `samples_of` and `load_extractor` do, and if `out` is another kind of file.
    """
    if out.suffix != ".npz":
        raise InputError(f"{out}: found another suffix; accepted: .npz.")
    chosen = load_extractor(extractor, root).eval()
    stream = (batch.to(device or "cpu") for batch in samples_of(data, root=root))
    reference = stream_references(stream, [chosen])[chosen.name]
    reference.save(out)
    return reference


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
