"""Names of variants of a base: `digits@snapshot=512,ema=0.05`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from degradations import InputError
from study.checkpoints.snapshots import LEAST_WIDTH, MOST_WIDTH, is_kept
from study.specs import NetworkSpec, RecipeSpec


class _Key(NamedTuple):
    read: Callable[[str], int | float | str]
    good: Callable[[Any], bool]
    accepted: str


KEYS = {
    "snapshot": _Key(int, lambda v: v >= 1, "a step: a power of two, or the last"),
    "ema": _Key(
        float,
        lambda v: LEAST_WIDTH <= v <= MOST_WIDTH,
        f"a relative width from {LEAST_WIDTH} to {MOST_WIDTH}, which snapshots approximate to 5 %",
    ),
    "width": _Key(float, lambda v: 0 < v <= 4, "a factor above 0 and at most 4"),
    "samples": _Key(float, lambda v: 0 < v <= 1, "a share of the data above 0 and at most 1"),
    "split": _Key(int, lambda v: 0 <= v < 2**31, "an integer from 0 to 2³¹ − 1"),
    "seed": _Key(int, lambda v: 0 <= v < 2**31, "an integer from 0 to 2³¹ − 1"),
    "precision": _Key(str, lambda v: v in ("fp32", "fp16", "bf16"), "fp32, fp16 or bf16"),
}


@dataclass(frozen=True)
class Variant:
    """A base with changes to its recipe or evaluation; written `BASE@KEY=VALUE,…`.

    Args:
        base: a card's name, a folder, `exact`, or `base`, that of the study
        snapshot: training stopped after these steps: a power of two, or the last
        ema: relative width of the EMA profile of the weights
        width: factor of the network's width and hidden features
        samples: share of the data trained on
        split: seed of the split into what is trained on and what is held out
        seed: of initial weights and batches
        precision: in which the network computes: fp32, fp16 or bf16

    Raises InputError if values are out of range.
    """

    base: str
    snapshot: int | None = None
    ema: float | None = None
    width: float | None = None
    samples: float | None = None
    split: int | None = None
    seed: int | None = None
    precision: Literal["fp32", "fp16", "bf16"] | None = None

    def __post_init__(self) -> None:
        for name, value in self.changes.items():
            if not KEYS[name].good(value):
                raise InputError(
                    f"'{self}': {name}: found {_plain(value)}; accepted: {KEYS[name].accepted}."
                )

    @property
    def changes(self) -> dict[str, int | float | str]:
        """The changes, by key."""
        return {name: getattr(self, name) for name in KEYS if getattr(self, name) is not None}

    def __str__(self) -> str:
        changes = ",".join(f"{name}={_plain(value)}" for name, value in self.changes.items())
        return f"{self.base}@{changes}" if changes else self.base

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """The variant of a name; a name without `@` is the base itself.

        Raises InputError if keys are unknown or repeated, or values missing or out of range.
        """
        base, at, changes = text.rpartition("@")
        if not at or "/" in changes:  # the @ is in the name of a folder
            return cls(text)
        values: dict[str, Any] = {}
        for change in changes.split(","):
            name, _, value = (part.strip() for part in change.partition("="))
            if name not in KEYS:
                close = get_close_matches(name, KEYS, n=1)
                meant = f" Did you mean {close[0]}?" if close else ""
                raise InputError(
                    f"'{text}': found '{change}'; accepted: {'=…, '.join(KEYS)}=….{meant}"
                )
            if name in values:
                raise InputError(f"'{text}': {name} is given twice.")
            try:
                values[name] = KEYS[name].read(value)
            except ValueError:
                raise InputError(
                    f"'{text}': {name}: found '{value}'; accepted: {KEYS[name].accepted}."
                ) from None
        if not base:
            raise InputError(f"'{text}': found no base before the @; accepted: base@{changes}.")
        return cls(base, **values)

    def of(self, base: "Variant") -> "Variant":
        """This variant of a base that is a variant itself.

        The widths multiply; for other keys this variant's value applies.
        """
        changes: dict[str, Any] = base.changes | self.changes
        if self.width and base.width:
            changes["width"] = self.width * base.width
        return Variant(base.base, **changes)

    def recipe(self, recipe: RecipeSpec) -> RecipeSpec:
        """The recipe that the variant is trained by, from that of its base.

        Raises InputError if that recipe keeps no such snapshot, or its network would be too large.
        """
        if self.snapshot is not None and not is_kept(self.snapshot, recipe.steps):
            raise InputError(
                f"'{self}': snapshot: found {self.snapshot}; accepted: a power of two up to "
                f"{recipe.steps}, or {recipe.steps}, the last step."
            )
        return replace(
            recipe,
            network=recipe.network if self.width is None else _scaled(recipe.network, self.width),
            samples=recipe.samples if self.samples is None else self.samples,
            split=recipe.split if self.split is None else self.split,
            seed=recipe.seed if self.seed is None else self.seed,
        )


def _scaled(network: NetworkSpec, factor: float) -> NetworkSpec:
    """A network with its width and hidden features multiplied by a factor.

    A transformer's width stays a multiple of its heads.
    """
    unit = network.heads if network.kind == "transformer" else 1
    width = unit * max(1, round(factor * network.width / unit))
    return replace(network, width=width, hidden=max(1, round(factor * network.hidden)))


def _plain(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
