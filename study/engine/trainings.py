"""Trainings: of a base by a recipe, and of a classifier of noisy samples; each by one process."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from degradations import InputError
from study.checkpoints import (
    CACHE,
    CARD,
    SNAPSHOTS,
    WIDTHS,
    Variant,
    build_classifier,
    classifier_folder,
    find,
    is_external,
    of_recipe,
    recipe_of,
    snapshot_path,
)
from study.checkpoints.classifiers import KIND
from study.data import Data, load_data
from study.files.lock import locked
from study.specs import RecipeSpec, StudySpec
from study.training import STATE, check_recipe, folder_of, objective_of


def train_base(
    spec: StudySpec,
    root: Path,
    retrain: bool = False,
    progress: bool = True,
    out: Path | None = None,
) -> Path:
    """Train the base by the study's recipe unless it exists already; returns its folder.

    An interrupted training is resumed. Raises InputError for a published base, which this project
    did not train, and for an unknown data set.
    """
    if spec.base is not None and is_external(Variant.parse(spec.base).base):
        raise InputError(
            f"base: found {spec.base}, a published checkpoint; use null or a base that a recipe "
            "trains."
        )
    # Unknown names raise before a folder is made for them.
    data = load_data(spec.recipe.data, root / CACHE)
    of_recipe(spec.recipe, data)
    objective_of(spec.recipe.objective)
    folder = out or folder_of(spec.recipe, root, data)
    train_into(spec.recipe, data, folder, made_by_of(spec), None, retrain, progress)
    check_recipe(asdict(recipe_of(find(folder, "denoiser"))), spec.recipe, f"the base in {folder}")
    return folder


def train_noisy_classifier(
    spec: StudySpec, root: Path, retrain: bool = False, out: Path | None = None
) -> Path:
    """Train a classifier of noisy samples of the recipe's data, unless it exists already.

    Returns its folder, in which the recipe's bases find it. Raises InputError for data without
    classes, and if the one that exists has another recipe.
    """
    recipe = replace(spec.recipe, label_dropout=0.0)
    data = load_data(recipe.data, root / CACHE)
    build_classifier(recipe, data)
    require_classes(recipe, data)
    folder = out or classifier_folder(recipe, root)
    with _exclusive(folder):
        if retrain:
            (folder / CARD).unlink(missing_ok=True)
        if not (folder / CARD).exists():
            from study.lightning.classify_noisy import train_classifier

            train_classifier(recipe, data, folder, f"{made_by_of(spec)} --noisy-classifier")
    kept = asdict(recipe_of(find(folder, KIND)))
    check_recipe(kept, recipe, f"the classifier in {folder}")
    return folder


def train_into(
    recipe: RecipeSpec,
    data: Data,
    folder: Path,
    made_by: str,
    until: int | None,
    retrain: bool,
    progress: bool,
) -> None:
    """Train by a recipe to the end or until a step, resuming from what is trained so far."""
    wanted = folder / CARD if until is None else snapshot_path(folder, until, WIDTHS[-1])
    if wanted.exists() and not retrain:
        return
    # This makes the folder, so an unwritable place is noticed before the first step.
    with _exclusive(folder):
        if retrain:
            shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
            for name in (CARD, STATE):
                (folder / name).unlink(missing_ok=True)
        if not wanted.exists():
            from study.lightning.train import train  # late: Lightning takes seconds

            train(recipe, data, folder, made_by, progress, until=until)


def require_classes(recipe: RecipeSpec, data: Data) -> None:
    """Raises InputError if the share of the data that is trained on leaves out a class."""
    missing = data.split(recipe.samples, recipe.split)[0].missing
    if missing:
        raise InputError(
            f"recipe.samples: found {recipe.samples:g}, which leaves out of training the "
            f"class{'es' if len(missing) > 1 else ''} {', '.join(map(str, missing))} of "
            f"'{recipe.data}'; accepted: a share that contains every class."
        )


def made_by_of(spec: StudySpec) -> str:
    return f"study train configs/{spec.name}.yaml"


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Lock the folder of a training for one process; another process waits until it is done."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock", wait=False))
        except BlockingIOError:
            print(f"Another process is training {folder}: waiting for it.", file=sys.stderr)
            held.enter_context(locked(folder / ".lock"))
        yield
