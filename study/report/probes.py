"""The predictions of the probes: a table and heat maps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.report import figures
from study.report.formats import require_format
from study.specs import CONSTANT

WARNING = (
    "loss w: the weight that minimises the denoising loss of D_w. Training makes this loss "
    "stationary, so w is about 1 for a trained main even where guidance improves the samples; it "
    "is informative only for degraded mains."
)


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The probes as a table to read: mean errors on data, on trajectories, endpoints, loss."""

    def number(value: float | None, interval: Sequence[float] | None = None) -> str:
        if value is None:
            return "undetermined"
        return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")

    has_rules = any(row["rule"] != CONSTANT for row in rows)
    return pd.DataFrame(
        [
            {
                **({"base": row["base"]} if "base" in row else {}),
                "main": row["main"],
                "guide": row["guide"],
                "coupling": row["coupling"],
                **({"rule": row["rule"]} if has_rules else {}),
                "ρ": number(row["cosine"]),
                "r": number(row["ratio"]),
                "ρ·r": number(row["criterion"], row["criterion_ci"]),
                "w": number(row["weight"], row["weight_ci"]),
                "gain": number(row["gain"], row["gain_ci"]),
                "ρ·r, trajectories": number(
                    row["on_trajectories"]["criterion"], row["on_trajectories"]["criterion_ci"]
                ),
                "w, trajectories": number(
                    row["on_trajectories"]["weight"], row["on_trajectories"]["weight_ci"]
                ),
                "endpoint w": number(row["endpoint_weight"]),
                "endpoint gain": number(row["endpoint_gain"]),
                "loss w": number(row["loss_weight"], row["loss_weight_ci"]),
            }
            for row in rows
        ]
    )


def render(rows: Sequence[Mapping[str, Any]], form: str) -> str:
    """The probes as md, csv or json. Raises InputError for another format."""
    require_format(form)
    if form == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False, allow_nan=False)
    if form == "csv":
        text: str = frame(rows).to_csv(index=False)
        return text.rstrip("\n")
    markdown: str = frame(rows).to_markdown(index=False, disable_numparse=True)
    return (
        f"{markdown}\n\nMean errors against the base on noised data and along its trajectories: "
        "cosine ρ, ratio of "
        "lengths r; guidance with w > 1 reduces them only if ρ·r > 1, most at w. Endpoints: the "
        "best mixture of main and guide sampled alone. All predictions are for the rule "
        f"{CONSTANT}. {WARNING}"
    )


def maps(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Heat maps over mains and guides."""
    table = pd.DataFrame(
        [
            {key: row[key] for key in ("main", "guide", "criterion", "endpoint_weight")}
            for row in rows
        ]
    )
    written = []
    titles = {
        "criterion": ("mean errors: C/A = ρ·r, above 1 predicts a gain", -1.0, 3.0),
        "endpoint_weight": ("endpoints: best weight of the mixed samples", -0.5, 2.5),
    }
    for key, (title, low, high) in titles.items():
        values = table.drop_duplicates(["main", "guide"]).pivot(
            index="main", columns="guide", values=key
        )
        if np.isfinite(values.to_numpy(float)).any():
            written.append(
                figures.save(figures.heat(values, title, low, high), folder / f"probe-{key}.png")
            )
    return written
