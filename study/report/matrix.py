"""The map of a matrix study: the gain of each main from each guide, measured and predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.records.results import Results
from study.records.task import kind_of
from study.report.figures import heat
from study.report.forecasts import predicted
from study.specs import CONSTANT, PairingSpec


def cells(
    results: Results, rows: Sequence[Mapping[str, Any]], probed: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """One row per pairing: its row of the table, the measured gain, and the probes' predictions."""
    # predictions of versions in which rules had no names are for the constant one
    known = {
        PairingSpec(p["main"], p["guide"], p["coupling"], p.get("rule", CONSTANT)): p
        for p in probed
    }
    found = []
    for row, pairing in zip(rows, results.spec.pairings, strict=True):
        probe = known.get(pairing, {})
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
            "rule",
            "metric",
            "fd_base",
            "fd_main",
            "fd_guide",
            "slope",
            "slope_ci",
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
                "main_kind": kind_of(pairing.main),
                "guide_kind": kind_of(pairing.guide),
                **{key: row[key] for key in kept},
                "measured_gain": row["gain"],
                "measured_gain_bounds": row["gain_bounds"],
                "weights_tried": len({e.task.weight for e in results.searches[pairing]}),
                **predicted(probe),
                **{f"predicted_{key}": value for key, value in measured.items()},
            }
        )
    return pd.DataFrame(found)


def maps(cells: pd.DataFrame) -> dict[str, Figure]:
    """Heat maps over kinds: measured recovered and best weight, predicted criterion and weight."""
    shown = {
        "recovered": (
            "recovered: share of the main's damage that guidance undoes; ? undecided",
            0,
            1,
            "recovered",
        ),
        "best-weight": ("best weight, 1 without a gain; ? undecided", -0.5, 2.5, "weight"),
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
    )  # the config's own pairings come before those of the matrix
    return cells.pivot(index="main_kind", columns="guide_kind", values=column).reindex(
        index=mains, columns=guides
    )
