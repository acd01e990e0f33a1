"""The base of a study and its variants: loaded, trained where they are not yet, or made of a
training's snapshots."""

import copy
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from degradations import InputError
from study.checkpoints import (
    CARD,
    SNAPSHOTS,
    WIDTHS,
    Base,
    Variant,
    blend,
    build,
    find,
    is_public,
    kept_up_to,
    load_base,
    recipe_of,
    snapshot_path,
)
from study.checkpoints.load import Precision
from study.data import load_data
from study.files.lock import locked
from study.models import Preconditioned
from study.parallel.device import device
from study.specs import RecipeSpec, StudySpec
from study.training import (
    STATE,
    Profile,
    check_recipe,
    exponent,
    folder_of,
    objective_of,
    reconstruct,
)

OWN, EXACT = "base", "exact"
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def base_of(
    spec: StudySpec,
    root: Path,
    retrain: bool = False,
    progress: bool = True,
    loaded: Base | None = None,
) -> Base:
    """The base of a study: loaded, or trained into mlruns/bases, where it is found the next time.

    To retrain is to train it anew by the config's recipe, whatever the config names. loaded: as in
    `resolve`. Raises InputError as `resolve` does.
    """
    chosen = by_recipe(spec) if retrain else spec
    return resolve(OWN, chosen, root, progress, again=retrain, loaded=loaded)


def by_recipe(spec: StudySpec) -> StudySpec:
    """The study with its base, or the same variant of it, trained by the config's recipe, whatever
    the config names."""
    variant = Variant(OWN) if spec.base is None else replace(Variant.parse(spec.base), base=OWN)
    return replace(spec, base=str(variant) if variant.changes else None)


def untrained(spec: StudySpec, name: str = OWN, root: Path = Path("mlruns")) -> Base:
    """The base of a name as `resolve` finds it, before its training where it is one that is
    trained.

    Raises InputError for every name, recipe and network that `resolve` would refuse.
    """
    plan = _plan(name, spec)
    if plan.recipe is None:
        return load_base(plan.variant.base, spec.reference, root)
    objective_of(plan.recipe)
    data = load_data(plan.recipe.data)
    return Base(
        str(plan.variant),
        build(plan.recipe.network, data, plan.recipe.sigma_data),
        data,
        "",
        plan.recipe,
    )


def resolve(
    name: str,
    spec: StudySpec,
    root: Path,
    progress: bool = True,
    again: bool = False,
    loaded: Base | None = None,
) -> Base:
    """The base of a name in a study: `base` for its own, a card's name, a folder, `exact`, or a
    variant of these.

    A variant of other snapshots or EMA widths is made of the snapshots of the base's training, and
    one of other networks, data or seeds is a training of its own; what is not yet trained is, into
    mlruns/bases, no further than it is wanted. loaded: what `untrained` gave for the name, which is
    the base itself where it is not trained here. Raises InputError for a name or a variant of
    nothing, and for a data set other than the study's reference.
    """
    plan = _plan(name, spec)
    if plan.recipe is None:
        found = loaded or load_base(plan.variant.base, spec.reference, root)
    else:
        found = _trained(plan, plan.recipe, spec, root, progress, again)
    return computing(plan.precision or spec.precision, found)


def _trained(
    plan: "_Plan", recipe: RecipeSpec, spec: StudySpec, root: Path, progress: bool, again: bool
) -> Base:
    folder = plan.home or folder_of(recipe, root)
    made_by = _made_by(spec) if plan.variant == Variant(OWN) else str(plan.variant)
    until = None if plan.step == recipe.steps else plan.step
    _train(recipe, folder, made_by, until, again, progress)
    if plan.is_average:
        return _average(plan, recipe, folder)
    return replace(load_base(folder, spec.reference, root), name=str(plan.variant))


def computing(precision: Precision, base: Base) -> Base:
    """The base with its network in a precision; auto: its own on an accelerator, fp32 on a CPU."""
    if precision == "auto":
        precision = "fp32" if device().type == "cpu" else base.precision
    if precision == "fp32":
        return replace(base, precision=precision)
    if not isinstance(base.denoiser, Preconditioned):
        raise InputError(
            f"precision: found {precision}, wanted fp32 for {base.name}, which has no network."
        )
    denoiser = copy.deepcopy(base.denoiser)
    denoiser.network.use(PRECISIONS[precision])
    return replace(
        base, denoiser=denoiser, precision=precision, sha256=f"{base.sha256} in {precision}"
    )


def train_base(
    spec: StudySpec, root: Path, again: bool = False, progress: bool = True, out: Path | None = None
) -> Path:
    """Train the base by the study's recipe unless it is there already; returns its folder.
    Interrupted, it goes on.

    Raises InputError for a base that others trained, and for an unknown data set.
    """
    if spec.base is not None and is_public(Variant.parse(spec.base).base):
        raise InputError(
            f"base: found {spec.base}, which others trained; wanted null or one of ours, which a "
            "recipe trains."
        )
    # Unknown names are found before a folder is made for them.
    load_data(spec.recipe.data)
    objective_of(spec.recipe)
    folder = out or folder_of(spec.recipe, root)
    _train(spec.recipe, folder, _made_by(spec), None, again, progress)
    check_recipe(asdict(recipe_of(find(folder, "denoiser"))), spec.recipe, f"the base in {folder}")
    return folder


@dataclass(frozen=True)
class _Plan:
    """Where a base comes from: without a recipe, it is loaded by its name; with one, it is trained
    by it, at home or in mlruns/bases, as far as a step, and then loaded, or averaged with a width;
    precision: that of its name, if any."""

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
    variant = Variant.parse(name)
    if variant.base == OWN and spec.base is not None:
        variant = variant.of(Variant.parse(spec.base))
    trained = _training(replace(variant, precision=None), spec)
    return replace(trained, precision=variant.precision)


def _training(variant: Variant, spec: StudySpec) -> _Plan:
    if variant.base == EXACT and variant.changes:
        raise InputError(f"'{variant}': the closed form of the data has no variants.")
    if variant.base != OWN and not variant.changes:
        return _Plan(variant)
    card = None if variant.base == OWN else find(variant.base, "denoiser")
    origin = spec.recipe if card is None else recipe_of(card)
    recipe = variant.recipe(origin)
    if recipe.data != spec.reference:
        raise InputError(
            f"'{variant}': a denoiser of '{recipe.data}', the study's data set is "
            f"'{spec.reference}'."
        )
    at_home = card is not None and recipe == origin
    home = (
        card.folder if card is not None and at_home and (card.folder / SNAPSHOTS).is_dir() else None
    )
    plan = _Plan(variant, recipe, home, variant.snapshot or recipe.steps, variant.ema or recipe.ema)
    if plan.is_average:
        # refuses a recipe's own width that the snapshots cannot make
        replace(variant, ema=plan.width)
    elif at_home:
        return _Plan(Variant(variant.base))
    return plan


def _average(plan: _Plan, recipe: RecipeSpec, folder: Path) -> Base:
    """The average of a training up to a step, made of its snapshots."""
    data = load_data(recipe.data)
    denoiser = build(recipe.network, data, recipe.sigma_data)
    kept = [(step, width) for step in kept_up_to(plan.step) for width in WIDTHS]
    profiles = [Profile(step, exponent(width)) for step, width in kept]
    coefficients, _ = reconstruct(profiles, Profile(plan.step, exponent(plan.width)))
    parts = zip(kept, coefficients, strict=True)
    sha256 = blend(
        denoiser, {snapshot_path(folder, step, width): c for (step, width), c in parts if c}
    )
    return Base(str(plan.variant), denoiser, data, sha256, recipe)


def _train(
    recipe: RecipeSpec, folder: Path, made_by: str, until: int | None, again: bool, progress: bool
) -> None:
    """Train by a recipe, to the end or until a step, what is not trained so far. Interrupted, it
    goes on."""
    wanted = folder / CARD if until is None else snapshot_path(folder, until, WIDTHS[-1])
    if wanted.exists() and not again:
        return
    # which makes the folder: a place that cannot be written to is known before the first step
    with _alone(folder):
        if again:
            shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
            for name in (CARD, STATE):
                (folder / name).unlink(missing_ok=True)
        if not wanted.exists():
            from study.lightning.train import train  # late: Lightning takes seconds

            train(recipe, folder, made_by, progress, until=until)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder of a training for one process; another waits, and then finds it done."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock", wait=False))
        except BlockingIOError:
            print(f"Another process is training {folder}: waiting for it.", file=sys.stderr)
            held.enter_context(locked(folder / ".lock"))
        yield


def _made_by(spec: StudySpec) -> str:
    return f"study train configs/{spec.name}.yaml"
