"""Feature extractors, streamed moments, and distances to a reference."""

from study.metrics.extractors import EXTRACTORS, Extractor, Pixels, load_extractor
from study.metrics.frechet import FrechetReference
from study.metrics.kernel import kernel_distance
from study.metrics.moments import Moments
from study.metrics.nearest import nearest, nearest_other
from study.metrics.scorer import Reference, Tally, references, scores

__all__ = [
    "EXTRACTORS", "Extractor", "FrechetReference", "Moments", "Pixels", "Reference", "Tally",
    "kernel_distance", "load_extractor", "nearest", "nearest_other", "references", "scores",
]  # fmt: skip
