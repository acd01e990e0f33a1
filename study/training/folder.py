"""Where a training is kept, and whether what is there is of the same recipe."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from degradations import InputError
from study.specs import RecipeSpec

STATE = "training.ckpt"
# Keys that recipes have had from some version on. They do not count while they have their defaults:
# so a new one neither renames the bases trained before nor rejects interrupted trainings.
NEWER = ("objective",)
MOST_NAME = 40  # characters of a data set in the name of a folder


def check_recipe(kept: dict[str, Any], recipe: RecipeSpec, what: str) -> None:
    """Raises InputError, naming the keys, where a kept recipe is not this one."""
    now = asdict(recipe)
    before = {key: getattr(RecipeSpec(), key) for key in NEWER} | kept
    changed = [
        f"recipe.{key}: {before.get(key)} then, {now[key]} now"
        for key in now
        if before.get(key) != now[key]
    ]
    if changed:
        raise InputError(
            f"{what} has another recipe ({'; '.join(changed)}); give another --out, or --again to "
            "discard it."
        )


def folder_of(recipe: RecipeSpec, root: Path) -> Path:
    """Where the base of a recipe is kept, a folder of root/bases: named by everything that
    determines it."""
    default = RecipeSpec()
    identity = {
        key: value
        for key, value in asdict(recipe).items()
        if key not in NEWER or value != getattr(default, key)
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    data = re.sub(r"[^\w-]+", "-", recipe.data, flags=re.ASCII).strip("-")[-MOST_NAME:]
    return root / "bases" / f"{data}-{digest}"
