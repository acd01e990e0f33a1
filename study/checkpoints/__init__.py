"""Base denoisers: cards, weights, snapshots and names of variants; cards of feature classifiers."""

from study.checkpoints.cards import (
    PublicCard,
    PublicStatistics,
    find_statistics,
    near,
    public_cards,
    public_statistics,
)
from study.checkpoints.classifiers import build_classifier, classifier_folder, with_classifier
from study.checkpoints.load import (
    CACHE,
    Base,
    blank,
    build,
    is_external,
    load_base,
    of_recipe,
    recipe_of,
)
from study.checkpoints.network_files import convert
from study.checkpoints.snapshots import SNAPSHOTS, WIDTHS, blend, is_kept, kept_up_to, snapshot_path
from study.checkpoints.variants import Variant
from study.checkpoints.weights import CARD, Card, fill, find, save, write

__all__ = [
    "CACHE",
    "CARD",
    "SNAPSHOTS",
    "WIDTHS",
    "Base",
    "Card",
    "PublicCard",
    "PublicStatistics",
    "Variant",
    "blank",
    "blend",
    "build",
    "build_classifier",
    "classifier_folder",
    "convert",
    "fill",
    "find",
    "find_statistics",
    "is_external",
    "is_kept",
    "kept_up_to",
    "load_base",
    "near",
    "of_recipe",
    "public_cards",
    "public_statistics",
    "recipe_of",
    "save",
    "snapshot_path",
    "with_classifier",
    "write",
]
