"""Cards, weights and snapshots of base denoisers, names of their variants, and cards of feature classifiers."""

from study.checkpoints.bases import Base, build, load_base, recipe_of
from study.checkpoints.snapshots import SNAPSHOTS, WIDTHS, blend, is_kept, kept_up_to, snapshot_path
from study.checkpoints.variants import Variant
from study.checkpoints.weights import CARD, Card, fill, find, save, write

__all__ = [
    "CARD",
    "SNAPSHOTS",
    "WIDTHS",
    "Base",
    "Card",
    "Variant",
    "blend",
    "build",
    "fill",
    "find",
    "is_kept",
    "kept_up_to",
    "load_base",
    "recipe_of",
    "save",
    "snapshot_path",
    "write",
]
