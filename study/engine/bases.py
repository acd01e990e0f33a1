"""The base of a study and its variants: loaded, trained, or averaged from training snapshots."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from degradations import InputError
from study.checkpoints import (
    CACHE,
    SNAPSHOTS,
    WIDTHS,
    Base,
    Variant,
    blend,
    find,
    kept_up_to,
    load_base,
    of_recipe,
    recipe_of,
    snapshot_path,
    with_classifier,
)
from study.checkpoints.load import Precision
from study.data import Data, load_data
from study.engine.trainings import made_by_of, require_classes, train_into
from study.models import Preconditioned
from study.parallel.device import device
from study.specs import RecipeSpec, StudySpec
from study.training import Profile, exponent, folder_of, objective_of, reconstruct

OWN, EXACT = "base", "exact"
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def base_of(
    spec: StudySpec,
    root: Path,
    retrain: bool = False,
    progress: bool = True,
    loaded: Base | None = None,
) -> Base:
    """The base of a study: loaded, or trained into mlruns/bases and loaded from there next time.

    retrain: train it again by the config's recipe, whatever base the config names. loaded: as in
    `resolve`. Raises InputError as `resolve` does.
    """
    chosen = by_recipe(spec) if retrain else spec
    return resolve(OWN, chosen, root, progress, retrain=retrain, loaded=loaded)


def by_recipe(spec: StudySpec) -> StudySpec:
    """The study with its base, or the same variant of it, trained by the config's recipe.

    The base that the config names is ignored.
    """
    variant = Variant(OWN) if spec.base is None else replace(Variant.parse(spec.base), base=OWN)
    return replace(spec, base=str(variant) if variant.changes else None)


def untrained(spec: StudySpec, name: str = OWN, root: Path = Path("mlruns")) -> Base:
    """The base of a name as `resolve` returns it, but not yet trained if a recipe trains it.

    Raises InputError for every name, recipe and network for which `resolve` would raise it.
    """
    plan = _plan(name, spec)
    if plan.recipe is None:
        return with_classifier(load_base(plan.variant.base, spec.data, root), root)
    objective_of(plan.recipe.objective)
    data = load_data(plan.recipe.data, root / CACHE)
    require_classes(plan.recipe, data)
    base = Base(str(plan.variant), of_recipe(plan.recipe, data), data, "", plan.recipe)
    return with_classifier(base, root)


def resolve(
    name: str,
    spec: StudySpec,
    root: Path,
    progress: bool = True,
    retrain: bool = False,
    loaded: Base | None = None,
) -> Base:
    """The base of a name in a study.

    name: `base` for the study's own base, a card's name, a folder, `exact`, or a variant of these.
    A variant with another snapshot or EMA width is averaged from the snapshots of the base's
    training; one with another network, data set or seed is trained separately. What is not yet
    trained is trained into mlruns/bases, only up to the step that is needed. loaded: what
    `untrained` returned for the name, which is the base itself unless it is trained here. Raises
    InputError for an unknown name or variant, and for a data set other than the study's reference.
    """
    plan = _plan(name, spec)
    if plan.recipe is None:
        found = loaded or load_base(plan.variant.base, spec.data, root)
    else:
        found = _trained(plan, plan.recipe, spec, root, progress, retrain)
    return computing(plan.precision or spec.precision, with_classifier(found, root))


def _trained(
    plan: "_Plan", recipe: RecipeSpec, spec: StudySpec, root: Path, progress: bool, retrain: bool
) -> Base:
    data = load_data(recipe.data, root / CACHE)
    folder = plan.home or folder_of(recipe, root, data)
    made_by = made_by_of(spec) if plan.variant == Variant(OWN) else str(plan.variant)
    until = None if plan.step == recipe.steps else plan.step
    train_into(recipe, data, folder, made_by, until, retrain, progress)
    if plan.is_average:
        return _average(plan, recipe, data, folder)
    return replace(load_base(folder, spec.data, root), name=str(plan.variant))


def computing(precision: Precision, base: Base) -> Base:
    """The base with its network in a precision.

    auto: the base's own precision on an accelerator, fp32 on a CPU. Raises InputError for a
    precision other than fp32 if the base has no network.
    """
    if precision == "auto":
        precision = "fp32" if device().type == "cpu" else base.precision
    if precision == "fp32":
        return replace(base, precision=precision)
    if not isinstance(base.denoiser, Preconditioned):
        raise InputError(
            f"precision: found {precision}; {base.name} has no network and supports only fp32."
        )
    denoiser = copy.deepcopy(base.denoiser)
    denoiser.network.use(PRECISIONS[precision])
    return replace(
        base, denoiser=denoiser, precision=precision, sha256=f"{base.sha256} in {precision}"
    )


@dataclass(frozen=True)
class _Plan:
    """Where a base comes from.

    Without a recipe it is loaded by its name. With one it is trained, in `home` or mlruns/bases, up
    to `step`, and then loaded, or averaged with the EMA width `width`. precision: the one in its
    name, if any.
    """

    variant: Variant
    recipe: RecipeSpec | None = None
    home: Path | None = None
    step: int = 0
    width: float = 0.0
    precision: Precision | None = None

    @property
    def is_average(self) -> bool:
        return self.recipe is not None and (self.step, self.width) != (
            self.recipe.steps,
            self.recipe.ema,
        )


def _plan(name: str, spec: StudySpec) -> _Plan:
    if spec.bases:
        raise InputError(
            f"bases: found {len(spec.bases)}, where one is needed; choose it by --bases [] --base "
            f"{spec.bases[0]}"
        )
    variant = Variant.parse(name)
    if variant.base == OWN and spec.base is not None:
        variant = variant.of(Variant.parse(spec.base))
    trained = _training(replace(variant, precision=None), spec)
    return replace(trained, precision=variant.precision)


def _training(variant: Variant, spec: StudySpec) -> _Plan:
    if variant.base == EXACT and variant.changes:
        raise InputError(f"'{variant}': the exact denoiser, a closed form, has no variants.")
    if variant.base != OWN and not variant.changes:
        return _Plan(variant)
    card = None if variant.base == OWN else find(variant.base, "denoiser")
    origin = spec.recipe if card is None else recipe_of(card)
    recipe = variant.recipe(origin)
    if spec.data not in (None, recipe.data):
        raise InputError(
            f"'{variant}': a denoiser of the data set '{recipe.data}'; the study's is "
            f"'{spec.reference}'."
        )
    at_home = card is not None and recipe == origin
    home = (
        card.folder if card is not None and at_home and (card.folder / SNAPSHOTS).is_dir() else None
    )
    plan = _Plan(variant, recipe, home, variant.snapshot or recipe.steps, variant.ema or recipe.ema)
    if plan.is_average:
        # raises InputError if the snapshots cannot give the recipe's own width
        replace(variant, ema=plan.width)
    elif at_home:
        return _Plan(Variant(variant.base))
    return plan


def _average(plan: _Plan, recipe: RecipeSpec, data: Data, folder: Path) -> Base:
    """The average of the weights up to a step of a training, computed from its snapshots."""
    denoiser = of_recipe(recipe, data)
    kept = [(step, width) for step in kept_up_to(plan.step) for width in WIDTHS]
    profiles = [Profile(step, exponent(width)) for step, width in kept]
    coefficients, _ = reconstruct(profiles, Profile(plan.step, exponent(plan.width)))
    parts = zip(kept, coefficients, strict=True)
    sha256 = blend(
        denoiser, {snapshot_path(folder, step, width): c for (step, width), c in parts if c}
    )
    return Base(str(plan.variant), denoiser, data, sha256, recipe)
