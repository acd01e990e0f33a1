"""The map of a matrix study: the gain of each main from each guide, measured and predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.records.agreement import (
    Cells,
    area_under_curve,
    multiclass_correlation,
    rank_correlation,
)
from study.records.confirmation import LEAST
from study.records.results import Results
from study.report.figures import heat
from study.specs import CONSTANT, PairingSpec

IMPROVES, BLENDS, NO_GAIN = "improves", "blends", "no gain"
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


def _kind(name: str) -> str:
    return name if "+" in name else name.split("(")[0]


def forecasts(cells: pd.DataFrame) -> dict[str, tuple[list[str], list[float]]]:
    """The verdict that each probe predicts for the cells, and its score; then two baselines.

    endpoint: its weight above, below or at 1. ρ·r: above 1 a gain, on noised data and along
    trajectories; else *blends* where the weight is below 1 with a gain above 5 %. ρ > 0.5: a gain.
    The baselines: a gain for the same kind, and never. An undetermined probe predicts no gain. (The
    thresholds are those of `notebooks/log.md`, set before the first matrix.)
    """

    def column(name: str) -> list[float]:
        if name not in cells:
            return [-np.inf] * len(cells)
        return list(pd.to_numeric(cells[name]).fillna(-np.inf))

    def by_errors(suffix: str) -> tuple[list[str], list[float]]:
        criterion = column(f"predicted_criterion{suffix}")
        rest = zip(
            column(f"predicted_weight{suffix}"), column(f"predicted_gain{suffix}"), strict=True
        )
        blends = [-np.inf < weight < 1 and gain > LEAST for weight, gain in rest]
        both = zip(criterion, blends, strict=True)
        return [IMPROVES if c > 1 else BLENDS if b else NO_GAIN for c, b in both], criterion

    weight, cosine = column("predicted_endpoint_weight"), column("predicted_cosine")
    same = [float(a == b) for a, b in zip(cells["main_kind"], cells["guide_kind"], strict=True)]
    return {
        "endpoint": (
            [IMPROVES if w > 1 else BLENDS if -np.inf < w < 1 else NO_GAIN for w in weight],
            column("predicted_endpoint_gain"),
        ),
        "ρ·r > 1": by_errors(""),
        "ρ·r > 1, trajectories": by_errors("_on_trajectories"),
        "ρ > 0.5": ([IMPROVES if each > 0.5 else NO_GAIN for each in cosine], cosine),
        "same kind": ([IMPROVES if each else NO_GAIN for each in same], same),
        "always no": ([NO_GAIN] * len(cells), [0.0] * len(cells)),
    }


def score_probes(cells: pd.DataFrame) -> pd.DataFrame:
    """How well each probe, and each baseline, predicts the verdicts of the cells; a row for each.

    improves, predicted: numbers of cells with a gain, and with a predicted one; agreement: share of
    cells where the prediction of a gain is right; missed, wrong: numbers of false negatives and
    false positives; r_k: the multiclass correlation with the verdicts, with its interval over
    kinds; auc: P(a cell with a gain has the larger score); rank_correlation: Spearman's, of the
    score with what was recovered at the tested weight, whether shown or not; p: of that, by
    permuting kinds.
    """
    verdicts = list(cells["verdict"])
    improves = [each == IMPROVES for each in verdicts]
    recovered = list(pd.to_numeric(cells["tested_recovered"]).fillna(0.0))
    kinds = Cells(list(cells["main_kind"]), list(cells["guide_kind"]))
    found = []
    for name, (said, score) in forecasts(cells).items():
        gains = [each == IMPROVES for each in said]

        def of_chosen(chosen: Any, said: list[str] = said) -> float:
            return multiclass_correlation([said[i] for i in chosen], [verdicts[i] for i in chosen])

        low, high = kinds.interval(of_chosen) or (np.nan, np.nan)
        pairs = list(zip(gains, improves, strict=True))
        found.append(
            {
                "probe": name,
                "cells": len(cells),
                "improves": sum(improves),
                "predicted": sum(gains),
                "agreement": float(np.mean([a == b for a, b in pairs])),
                "missed": sum(b and not a for a, b in pairs),
                "wrong": sum(a and not b for a, b in pairs),
                "r_k": multiclass_correlation(said, verdicts),
                "r_k_low": low,
                "r_k_high": high,
                "auc": area_under_curve(score, improves),
                "rank_correlation": rank_correlation(score, recovered),
                "p": kinds.permutation_p(score, recovered),
            }
        )
    return pd.DataFrame(found)
