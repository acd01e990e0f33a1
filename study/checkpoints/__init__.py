"""Cards and weights of base denoisers and of feature classifiers."""

from study.checkpoints.bases import Base, build, load_base, recipe_of
from study.checkpoints.weights import Card, fill, find, save

__all__ = ["Base", "Card", "build", "fill", "find", "load_base", "recipe_of", "save"]
