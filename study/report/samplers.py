"""FD against network evaluations: a table and a figure."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from study.report import figures
from study.report.formats import require_format

Row = Mapping[str, Any]
COLOURS = ("#2166ac", "#b2560d", "#2a7f62", "#8a3f8f", "#a63a3a", "#6b6b00", "#4d4d4d", "#1b9e9e")
MARKERS = ("o", "s", "^", "v", "x", "D", "+", "*")  # ddim and euler coincide without η: ○ and ×
LINES = ("-", "--", ":", "-.")


def render(rows: Sequence[Row], form: str) -> str:
    """The rows as md, csv or json. Raises InputError for another format."""
    require_format(form)
    if form == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False, allow_nan=False)
    if form == "csv":
        text: str = pd.DataFrame(rows).drop(columns="fd_ci").to_csv(index=False)
        return text.rstrip("\n")
    lines = [
        {
            "denoiser": row["denoiser"],
            "solver": row["solver"],
            "grid": row["grid"],
            "steps": row["steps"],
            "NFE": row["nfe"],
            row["metric"]: f"{row['fd']:.3f} [{row['fd_ci'][0]:.3f}, {row['fd_ci'][1]:.3f}]",
        }
        for row in rows
        if row["metric"] == rows[0]["metric"]
    ]
    table: str = pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)
    return (
        f"{table}\n\nNFE: network evaluations per sample of the main, as many of the guide; "
        "intervals over samples of one seed set, common to all."
    )


def figure(rows: Sequence[Row], path: Path) -> Path:
    """FD against NFE by the first metric, a panel for each denoiser, a line for solver and grid."""
    metric = rows[0]["metric"]
    denoisers = list(dict.fromkeys(row["denoiser"] for row in rows))
    solvers = list(dict.fromkeys(row["solver"] for row in rows))
    grids = list(dict.fromkeys(row["grid"] for row in rows))
    made = Figure(figsize=(5.2 * len(denoisers), 4.2), layout="constrained")
    for place, denoiser in enumerate(denoisers):
        axes = made.add_subplot(1, len(denoisers), place + 1)
        axes.set_title(denoiser, fontsize=10)
        for solver in solvers:
            for grid in grids:
                line = [
                    (row["nfe"], row["fd"])
                    for row in rows
                    if (row["denoiser"], row["solver"], row["grid"]) == (denoiser, solver, grid)
                    and row["metric"] == metric
                ]
                axes.plot(
                    *zip(*sorted(line), strict=True),
                    color=COLOURS[solvers.index(solver) % len(COLOURS)],
                    ls=LINES[grids.index(grid) % len(LINES)],
                    marker=MARKERS[solvers.index(solver) % len(MARKERS)],
                    ms=4,
                    mfc="none",
                    lw=1.2,
                    label=solver if len(grids) == 1 else f"{solver}, {grid}",
                )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_yscale("log")
        axes.set_xlabel("network evaluations per sample (NFE)")
        axes.set_ylabel(metric)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    return figures.save(made, path)
