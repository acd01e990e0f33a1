"""The table of a calibration."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from study.report.formats import require_format
from study.specs import CalibrateSpec


def _imprecise(found: Any, spec: CalibrateSpec) -> str:
    """Which levels are not known as precisely as the tolerance asks for."""
    together = zip(spec.levels, found.errors, strict=True)
    rough = [f"{level:g}" for level, error in together if error and error > spec.tolerance * level]
    return f"standard error above the tolerance at {', '.join(rough)}" if rough else ""


UNITS = {"fd": "× base", "fd-infinity": "× base in FD∞", "recall": "× base in data not covered"}


def render(found: Sequence[Any], spec: CalibrateSpec, form: str) -> str:
    """The calibration of each kind: strength and damage at every level, or why there is none.

    The damage with its standard error over samples. Raises InputError for another format.
    """
    levels, unit = spec.levels, UNITS.get(spec.by, "error along trajectories")
    require_format(form)
    if form == "json":
        return json.dumps(
            [{**vars(each), "levels": list(levels)} for each in found], indent=2, allow_nan=False
        )
    lines = []
    for each in found:
        line = {"kind": each.kind}
        columns = zip(levels, each.strengths, each.ratios, each.errors, strict=True)
        for level, strength, ratio, error in columns:
            known = "" if error is None else f" ± {error:.2g}"
            line[f"{level:g} {unit}"] = (
                "–" if strength is None else f"{strength:g} ({ratio:.3g}{known})"
            )
        lines.append({**line, "": each.reason or _imprecise(each, spec)})
    table = pd.DataFrame(lines)
    text: str = (
        table.to_csv(index=False)
        if form == "csv"
        else table.to_markdown(index=False, disable_numparse=True)
    )
    return text.rstrip("\n")
