"""The table of a study, of its rows."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.records.task import rounded
from study.report.formats import TABLES, require_format
from study.specs import CONSTANT

REPORTED_IN_PAPERS, FIELD_SAMPLES = ("fd_inception", "fd_inception_tf", "fd_dinov2"), 50_000
FORMATS = (*TABLES, "latex")
SUFFIXES = {"md": "md", "csv": "csv", "json": "json", "latex": "tex"}  # of files, by format
CONTROLS = ("base, 2× steps", "main, 2× steps", "main, 2 draws", "main, rescaled", "beyond")


def frame(table: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a data frame for display: one column per quantity, with its interval."""
    digits = _digits(
        [row[key] for row in table for key in ("fd_base", "fd_main", "fd_guide", "fd")]
    )

    def fd(value: float | None) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    def interval(value: float | None, ends: Sequence[float] | None) -> str:
        if value is None:
            return "–"
        return f"{value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")

    has_rules = any(row["rule"] != CONSTANT for row in table)
    has_slopes = any(row["slope"] is not None for row in table)
    found = pd.DataFrame(
        [
            {
                "pairing": row["pairing"] + _found(row),
                "coupling": row["coupling"],
                **({"rule": row["rule"]} if has_rules else {}),
                "base": fd(row["fd_base"]),
                "main": fd(row["fd_main"]),
                "guide": fd(row["fd_guide"]),
                **({"slope": interval(row["slope"], row["slope_ci"])} if has_slopes else {}),
                "w": f"{row['weight']:.2f}",
                "guided": f"{fd(row['fd'])} ± {fd(row['fd_sd'])}",
                "min": fd(row["fd_min"]),
                "recovered": interval(row["recovered"], row["recovered_ci"]),
                "verdict": _verdict(row),
                "sets": len(row["seeds"]),
                "base, 2× steps": fd(row["fd_base_double_steps"]),
                "main, 2× steps": fd(row["fd_main_double_steps"]),
                "main, 2 draws": fd(row["fd_main_averaged"]),
                "main, rescaled": fd(row["fd_main_rescaled"]),
                "beyond": interval(row["beyond_rescaling"], row["beyond_rescaling_ci"])
                if row["verdict"] in ("improves", "blends")
                else "–",
                **{
                    f"{key}, held out": fd(row[f"held_out_fd_{key}"])
                    for key in ("base", "main", "guided")
                    if "held_out_fd_base" in row
                },
            }
            for row in table
        ]
    )
    unknown = [name for name in CONTROLS if name in found and (found[name] == "–").all()]
    return found.drop(columns=unknown)


def _verdict(row: dict[str, Any]) -> str:
    """The verdict; *no gain* with the weights at which a gain was excluded."""
    if row["verdict"] != "no gain":
        return str(row["verdict"])
    return f"no gain at {', '.join(f'{weight:g}' for weight in sorted(row['tested_weights']))}"


def _found(row: dict[str, Any]) -> str:
    """The guide or noise-level interval that the search chose besides the weight, if any."""
    if row["weight"] == 1:
        return ""
    within = [rounded(row["tested_rule"])] if row["tested_rule"] != row["rule"] else []
    other = [f"guided by {row['tested_guide']}"] if row["tested_guide"] != row["guide"] else []
    return f" ({', '.join(other + within)})" if other or within else ""


def caption(table: Sequence[dict[str, Any]]) -> str:
    """The caption of the table, which explains its numbers."""
    if not table:
        return "No pairings."
    row = table[0]
    sets = sorted({len(each["seeds"]) for each in table})
    number = f"{sets[0]}" if len(sets) == 1 else f"{sets[0]} to {sets[-1]}"
    coverage = min((each["coverage"] for each in table if each["recovered_ci"]), default=0.95)
    return (
        f"{row['metric']}, mean over {number} fresh seed sets of {row['samples']} samples, "
        f"{row['steps']} steps in {row['precision']} ({row['nfe_main']} evaluations of the main, "
        "as many of the guide where w ≠ 1); slope: dFD/dw at w = 1, on the search's seeds; guided: "
        "± standard deviation over seed sets; min: the smallest of them, which does not affect the "
        "verdict; recovered: (main − guided)/(main − base) with its interval at "
        f"{100 * coverage:.3g} %, over sampling seeds of one base, not over trainings; verdicts "
        f"are {row['correction']}; no gain: a gain of 5 % of the "
        "damage is excluded at the weights given; sets: seed sets until the verdict was decided; "
        "2× steps, 2 draws: controls at the same cost as guidance, twice the steps, and two draws "
        "of the main averaged at every evaluation (– if it is deterministic); rescaled: the main "
        "at the best factor of its score, of the noise level it is told or (with churn) of the "
        "fresh noise, tuned as w is; beyond: "
        "(rescaled − guided)/(main − base), what guidance adds to that."
        f"{_floors(row)}{_warning(row)}"
    )


def _floors(row: dict[str, Any]) -> str:
    """What the base's FD is to be compared with, as far as it is known."""
    known = {
        "the base's own without the bias of so few samples (FD∞)": row.get("fd_infinity_base"),
        "a model that returns its training data": row.get("floor_memoriser"),
        "a model whose features are exactly Gaussian, with random labels": row.get("floor_perfect"),
    }
    parts = [f"{value:.3g}, {name}" for name, value in known.items() if value is not None]
    if row.get("fd_base") is None or not parts:
        return ""
    return f" The base's {row['metric']}, {row['fd_base']:.3g}, compares with: {'; '.join(parts)}."


def _warning(row: dict[str, Any]) -> str:
    """A warning if a metric that papers report was computed of fewer images than in papers."""
    if row["metric"] not in REPORTED_IN_PAPERS or row["samples"] >= FIELD_SAMPLES:
        return ""
    return (
        f" WARNING: {row['metric']} of {row['samples']} images is larger than of {FIELD_SAMPLES}, "
        "as papers report it, and not comparable with theirs."
    )


def render(table: Sequence[dict[str, Any]], form: str) -> str:
    """The table as md, csv, json or latex. Raises InputError for another format."""
    return rendered(table, form, [frame(table)], caption(table))


def rendered(
    table: Sequence[dict[str, Any]], form: str, frames: Sequence[pd.DataFrame], caption: str
) -> str:
    """Rows as json or csv, or their data frames with a caption as md; in latex the first of them.

    Raises InputError for another format.
    """
    require_format(form, FORMATS)
    if form == "json":
        return json.dumps(list(table), indent=2, ensure_ascii=False, allow_nan=False)
    if form == "csv":
        text: str = pd.DataFrame(list(table)).to_csv(index=False)
        return text.rstrip("\n")
    if form == "latex":
        return _latex(frames[0], caption)
    shown = [each.to_markdown(index=False, disable_numparse=True) for each in frames if len(each)]
    return "\n\n".join([*shown, caption])


def _latex(frame: pd.DataFrame, caption: str) -> str:
    """A data frame as a table of LaTeX."""
    text: str = frame.to_latex(index=False, escape=True, caption=caption)
    return (
        text.replace("→", r"$\to$")
        .replace("±", r"$\pm$")
        .replace("×", r"$\times$")
        .replace("≠", r"$\neq$")
    )


def _digits(values: Sequence[float | None]) -> int:
    """Decimals that show the smallest of the values to three significant digits."""
    positive = [value for value in values if value is not None and value > 0]
    return int(np.clip(2 - np.floor(np.log10(min(positive))), 0, 8)) if positive else 3
