"""Where a training is kept, and whether what is there is of the same recipe."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from degradations import InputError
from study.data import Data
from study.specs import NetworkSpec, RecipeSpec

STATE = "training.ckpt"
# The keys of the first version, which always count; this list never grows. Every other key counts
# only if it differs from its default, so that a new key neither renames the bases trained before
# nor rejects interrupted trainings.
FIRST = (
    *("data", "network", "steps", "batch", "lr", "beta2", "p_mean", "p_std", "sigma_data", "ema"),
    *("seed", "samples"),
)
FIRST_OF_NETWORK = ("width", "hidden", "blocks", "embedding", "kind", "heads", "patch")
MOST_NAME = 40  # characters of a data set in the name of a folder


def identity(recipe: RecipeSpec, digest: str = "") -> dict[str, Any]:
    """What determines a training, by key: the first version's keys, and changed later ones.

    digest: of the content of data from outside.
    """
    own = _counted(asdict(recipe), asdict(RecipeSpec()), FIRST)
    own |= {"data_sha256": digest} if digest else {}
    return own | {
        "network": _counted(asdict(recipe.network), asdict(NetworkSpec()), FIRST_OF_NETWORK)
    }


def _counted(
    values: dict[str, Any], defaults: dict[str, Any], first: tuple[str, ...]
) -> dict[str, Any]:
    return {key: each for key, each in values.items() if key in first or each != defaults[key]}


def check_recipe(kept: dict[str, Any], recipe: RecipeSpec, what: str) -> None:
    """Raises InputError, naming the keys, if a recorded recipe differs from this one.

    kept: the recipe's keys and values, without those that were added after it was recorded.
    """
    now, defaults = asdict(recipe), asdict(RecipeSpec())
    before = {**defaults, **kept, "network": {**defaults["network"], **kept.get("network", {})}}
    changed = [
        f"recipe.{key}: {before[key]} then, {now[key]} now"
        for key in now
        if before[key] != now[key]
    ]
    if changed:
        raise InputError(
            f"{what} has another recipe ({'; '.join(changed)}); give another --out, or --retrain "
            "to discard it."
        )


def folder_of(recipe: RecipeSpec, root: Path, data: Data) -> Path:
    """The folder of a recipe's base in root/bases, named by everything that determines it."""
    known = json.dumps(identity(recipe, data.digest), sort_keys=True)
    digest = hashlib.sha256(known.encode()).hexdigest()
    name = re.sub(r"[^\w-]+", "-", recipe.data, flags=re.ASCII).strip("-")[-MOST_NAME:]
    return root / "bases" / f"{name}-{digest[:12]}"
