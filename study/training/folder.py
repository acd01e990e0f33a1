"""The folder of a training run, and whether its recipe is the same."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from degradations import InputError
from study.specs import RecipeSpec

STATE = "training.ckpt"
MOST_NAME = 40  # characters of the data set's name in a folder's name


def check_recipe(kept: dict[str, Any], recipe: RecipeSpec, what: str) -> None:
    """Raises InputError, naming the changed keys, if a stored recipe differs from this one."""
    now = asdict(recipe)
    changed = [
        f"recipe.{key}: {kept.get(key)} before, {now[key]} now"
        for key in now
        if kept.get(key) != now[key]
    ]
    if changed:
        raise InputError(
            f"{what} has another recipe ({'; '.join(changed)}); give another --out, or --again to "
            "discard it."
        )


def folder_of(recipe: RecipeSpec, root: Path) -> Path:
    """The folder of the base of a recipe, in root/bases, named by all that determines the base."""
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:12]
    data = re.sub(r"[^\w-]+", "-", recipe.data, flags=re.ASCII).strip("-")[-MOST_NAME:]
    return root / "bases" / f"{data}-{digest}"
