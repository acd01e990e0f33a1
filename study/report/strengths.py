"""The table of a calibration."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from study.report.formats import require_format


def render(found: Sequence[Any], levels: Sequence[float], form: str) -> str:
    """The calibration of each kind: strength and ratio of every level, or why there is none.

    Raises InputError for another format.
    """
    require_format(form)
    if form == "json":
        return json.dumps(
            [{**vars(each), "levels": list(levels)} for each in found], indent=2, allow_nan=False
        )
    lines = []
    for each in found:
        line = {"kind": each.kind}
        for level, strength, ratio in zip(levels, each.strengths, each.ratios, strict=True):
            line[f"{level:g} × base"] = "–" if strength is None else f"{strength:g} ({ratio:.2f})"
        lines.append({**line, "": each.reason})
    table = pd.DataFrame(lines)
    text: str = (
        table.to_csv(index=False)
        if form == "csv"
        else table.to_markdown(index=False, disable_numparse=True)
    )
    return text.rstrip("\n")
