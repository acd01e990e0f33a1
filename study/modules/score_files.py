"""What samples are compared with, by its name, and scores of images and samples in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from degradations import Refused
from study.checkpoints import CACHE, PublicStatistics, public_statistics
from study.data import DATA, load_data
from study.files.cache import obtain
from study.files.images import batches
from study.metrics import Extractor, Reference, Tally, load_extractor, references, scores, size_curves, strata
from study.metrics.reference import stream_references
from study.metrics.tally import GROUPS
from study.modules.device import device
from study.statistics import extrapolate


def score_files(
    path: Path, reference: str, extractor: str, extrapolated: bool = False, root: Path = Path("mlruns")
) -> dict[str, Any]:
    """The distances of images or samples in files to a reference, as `references_of` takes one.

    extrapolated: also FD against the number of samples, and its limit FD∞ with an interval at 95 %.
    Raises Refused for files that hold no samples, or a reference of another extractor or shape.
    """
    chosen = load_extractor(extractor, root).eval()
    compared = references_of(reference, [chosen], root)[chosen.name]
    tally = _tally_of(path, chosen, compared, grouped=extrapolated)
    n = tally.moments[chosen.name].n
    if extrapolated and n < 2 * GROUPS:
        raise Refused(f"{path}: {n} samples; FD is extrapolated from at least {2 * GROUPS}.")
    found: dict[str, Any] = {"samples": n, "reference": reference, "reference n": compared.n}
    found |= scores(tally, {chosen.name: compared})
    for metric, (curve, *without) in size_curves(tally, {chosen.name: compared}).items() if extrapolated else ():
        limit = extrapolate(curve, without)
        found |= {f"{metric} of {n:.0f}": value for n, value in curve}
        found |= {f"{metric}_inf": limit.mean, f"{metric}_inf_ci": [limit.low, limit.high]}
    return found


def references_of(name: str, extractors: Sequence[Extractor], root: Path) -> dict[str, Reference]:
    """What a name compares samples with, for each extractor: a data set, published statistics under root/cache, or a
    file of statistics, or images or samples in files. Raises Refused for what is none of these, and for the statistics
    of other extractors.
    """
    if name in DATA:
        return references(load_data(name).samples, extractors)
    if name in public_statistics():
        known = want_published(name, extractors)
        path = obtain(known.file, root / CACHE)
        return {extractor.name: Reference.load(path, extractor, known.size) for extractor in extractors}
    path = Path(name)
    if not path.exists():
        raise Refused(f"reference '{name}': neither a data set ({', '.join(sorted(DATA))}), nor published statistics "
                      f"({', '.join(public_statistics())}), nor a file or folder.")  # fmt: skip
    if Reference.is_one(path):
        return {extractor.name: Reference.load(path, extractor) for extractor in extractors}
    return stream_references((batch.to(device()) for batch in batches(path)), extractors)


def want_published(name: str, extractors: Sequence[Extractor]) -> PublicStatistics:
    """The published statistics of a name. Raises Refused for extractors that they are not of."""
    known = public_statistics()[name]
    for extractor in extractors:
        if extractor.name not in known.extractors:
            raise Refused(f"reference '{name}': statistics of {' and '.join(known.extractors)} are published, "
                          f"'{extractor.name}' is wanted.")  # fmt: skip
    return known


def _tally_of(path: Path, extractor: Extractor, compared: Reference, grouped: bool) -> Tally:
    """A tally of files, in groups by their number modulo ten where wanted: the files are then gone through twice."""
    n = sum(len(batch) for batch in batches(path)) if grouped else 0
    tally, first = Tally([extractor], strata(n) if grouped else None), 0
    for batch in batches(path):
        compared.want_size(batch)
        tally.fold(batch.to(device()), first)
        first += len(batch)
    if first < 2:
        raise Refused(f"{path}: {first} sample; at least 2 are wanted.")
    return tally
