"""Classifiers of noisy samples: one for each data set, or share of it, of bases."""

import math
import re
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from degradations import InputError, NoisyClassifier
from study.checkpoints.load import Base, build, data_of, recipe_of
from study.checkpoints.weights import CARD, SHIPPED, fill, find
from study.data import Data
from study.models import NetworkClassifier
from study.specs import RecipeSpec

KIND = "noisy-classifier"


def classifier_folder(recipe: RecipeSpec, root: Path) -> Path:
    """The folder, in root/bases, of the classifier of the data that a recipe trains on."""
    data = re.sub(r"[^\w-]+", "-", recipe.data, flags=re.ASCII).strip("-")
    share = f"-{recipe.samples:g}-{recipe.split}" if recipe.samples < 1 else ""
    return root / "bases" / f"{data}-{KIND}{share}"


def with_classifier(base: Base, root: Path) -> Base:
    """The base with the classifier of the data that it was trained on.

    It is one trained in root/bases, or else one that ships with the project. Without either the
    base is returned as it is.
    """
    if base.recipe is None:
        return base
    folder = classifier_folder(base.recipe, root)
    folder = folder if (folder / CARD).is_file() else SHIPPED / folder.name
    if not (folder / CARD).is_file():
        return base
    card = find(folder, KIND)
    if card.get("data", str) != base.data.name:
        raise InputError(
            f"{folder}: found a classifier of '{card.get('data', str)}'; accepted: one of "
            f"'{base.data.name}'."
        )
    sha256 = card.get("weights_sha256", str)
    base.denoiser.classifier = partial(_load, folder, sha256, root)
    return replace(base, classifier_sha256=sha256)


@lru_cache(maxsize=4)
def _load(folder: Path, sha256: str, root: Path) -> NoisyClassifier:
    """The classifier in a folder; sha256: of its weights, so that changed ones are read again."""
    card = find(folder, KIND)
    found = build_classifier(recipe_of(card), data_of(card, root))
    fill(found, card)
    return found


def build_classifier(recipe: RecipeSpec, data: Data) -> NetworkClassifier:
    """The untrained classifier of a recipe.

    Raises InputError for data without classes, and as `build` does.
    """
    if data.classes < 2:
        raise InputError(
            f"recipe.data: found '{data.name}', which has no classes; accepted for a classifier: "
            "data with two or more."
        )
    unlabelled = replace(data, classes=0)
    denoiser = build(recipe.network, unlabelled, recipe.sigma_data, recipe.preconditioning)
    return NetworkClassifier(denoiser, math.prod(data.shape), data.classes)
