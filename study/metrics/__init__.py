"""Feature extractors, streamed moments, and distances to a reference."""

from study.metrics.extractors import EXTRACTORS, Extractor, Pixels, files_of, load_extractor
from study.metrics.frechet import FrechetReference
from study.metrics.kernel import kernel_distance
from study.metrics.moments import Moments
from study.metrics.nearest import nearest, nearest_other
from study.metrics.neighbours import radii
from study.metrics.pairs import pair_scores
from study.metrics.reference import Reference, references
from study.metrics.scorer import replicates, scores, size_curves
from study.metrics.tally import Tally, strata

__all__ = [
    "EXTRACTORS",
    "Extractor",
    "FrechetReference",
    "Moments",
    "Pixels",
    "Reference",
    "Tally",
    "files_of",
    "kernel_distance",
    "load_extractor",
    "nearest",
    "nearest_other",
    "pair_scores",
    "radii",
    "references",
    "replicates",
    "scores",
    "size_curves",
    "strata",
]
