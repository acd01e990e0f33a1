"""The map of a matrix study: what each main gains from each guide, and what the probes
predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.records.results import Results
from study.report.figures import heat

PREDICTED = (
    "cosine",
    "ratio",
    "criterion",
    "gain",
    "weight",
    "endpoint_weight",
    "endpoint_gain",
    "loss_weight",
)


def cells(
    results: Results, rows: Sequence[Mapping[str, Any]], probed: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """A row a cell: the table's row, the slope FD(1.1) − FD(1) where it was evaluated, and the
    probes' forecasts."""
    known = {(p["main"], p["guide"], p["coupling"]): p for p in probed}
    found = []
    for row, pairing in zip(rows, results.spec.pairings, strict=True):
        probe = known.get((pairing.main, pairing.guide, pairing.coupling), {})
        ends = results.shared.get(results.endpoints(pairing))
        measured = (
            {
                f"endpoint_{key}": ends.scores.get(f"endpoint_{key}_{results.primary}")
                for key in ("weight", "gain")
            }
            if ends
            else {}
        )
        kept = (
            "main",
            "guide",
            "coupling",
            "metric",
            "fd_base",
            "fd_main",
            "fd_guide",
            "weight",
            "fd",
            "fd_sd",
            "recovered",
            "recovered_ci",
            "verdict",
            "tested_weight",
            "tested_fd",
            "tested_recovered",
            "tested_recovered_ci",
        )
        found.append(
            {
                "main_kind": _kind(pairing.main),
                "guide_kind": _kind(pairing.guide),
                **{key: row[key] for key in kept},
                "measured_gain": row["gain"],
                "measured_gain_bounds": row["gain_bounds"],
                "weights_tried": len({e.task.weight for e in results.searches[pairing]}),
                **{f"predicted_{key}": probe.get(key) for key in PREDICTED},
                **{
                    f"predicted_{key}_on_trajectories": probe.get("on_trajectories", {}).get(key)
                    for key in ("cosine", "ratio", "criterion", "gain", "weight")
                },
                **{f"predicted_{key}": value for key, value in measured.items()},
            }
        )
    return pd.DataFrame(found)


def maps(cells: pd.DataFrame) -> dict[str, Figure]:
    """Heat maps over kinds: recovered and best weight as measured, criterion and endpoint weight as
    predicted."""
    shown = {
        "recovered": (
            "recovered: share of the main's damage that guidance undoes; ? undecided",
            0,
            1,
            "recovered",
        ),
        "best-weight": ("best weight, 1 where nothing is gained; ? undecided", -0.5, 2.5, "weight"),
        "predicted-criterion": (
            "mean errors: C/A = ρ·r, above 1 predicts a gain",
            -1,
            3,
            "predicted_criterion",
        ),
        "predicted-endpoint-weight": (
            "endpoints: best weight of the mixture",
            -0.5,
            2.5,
            "predicted_endpoint_weight",
        ),
    }
    undecided = grid(cells, "verdict").map(lambda verdict: " ?" if verdict == "undecided" else "")
    found = {}
    for name, (title, low, high, column) in shown.items():
        table = grid(cells, column)
        if np.isfinite(table.to_numpy(float)).any():
            marks = undecided if "undecided" in title else None
            found[f"matrix-{name}"] = heat(
                table, title, low, high, "Blues" if low == 0 else "RdBu", marks
            )
    return found


def grid(cells: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of the cells as a table, mains down and guides across, in the order of the study."""
    mains, guides = (list(dict.fromkeys(cells[key])) for key in ("main_kind", "guide_kind"))
    cells = cells.drop_duplicates(
        ["main_kind", "guide_kind"], keep="last"
    )  # pairings of one's own come before the matrix
    return cells.pivot(index="main_kind", columns="guide_kind", values=column).reindex(
        index=mains, columns=guides
    )


def _kind(name: str) -> str:
    return name if "+" in name else name.split("(")[0]


def judge(cells: pd.DataFrame) -> pd.DataFrame:
    """How well each probe predicted the cells, a row a probe.

    predicted: cells in which it says that guidance gains; agreement: share of cells where that is
    the verdict (improves or not); missed, wrong: cells that it was wrong about; rank_correlation:
    Spearman's, of its score with recovered. A probe that is undetermined predicts nothing. (The
    thresholds are those of `notebooks/log.md`, set before the run.)
    """
    improves = cells["verdict"] == "improves"
    probes = {
        "endpoint": ("predicted_endpoint_weight", 1.0, "predicted_endpoint_gain"),
        "ρ·r > 1": ("predicted_criterion", 1.0, "predicted_criterion"),
        "ρ > 0.5": ("predicted_cosine", 0.5, "predicted_cosine"),
    }
    found = []
    for name, (column, threshold, score) in probes.items():
        says = pd.to_numeric(cells[column]).fillna(-np.inf) > threshold
        ranked = pd.to_numeric(cells[score]).corr(cells["recovered"].fillna(0.0), method="spearman")
        found.append(
            {
                "probe": name,
                "cells": len(cells),
                "improves": int(improves.sum()),
                "predicted": int(says.sum()),
                "agreement": float((says == improves).mean()),
                "missed": int((improves & ~says).sum()),
                "wrong": int((says & ~improves).sum()),
                "rank_correlation": float(ranked),
            }
        )
    return pd.DataFrame(found)
