"""How forecasts of verdicts turned out: those of probes, of baselines, and those written down."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from degradations import InputError
from study.records.agreement import (
    Cells,
    area_under_curve,
    multiclass_correlation,
    rank_correlation,
)
from study.records.confirmation import LEAST
from study.records.task import kind_of

IMPROVES, BLENDS, NO_GAIN = "improves", "blends", "no gain"
ORDER = {IMPROVES: 1.0, NO_GAIN: 0.0, BLENDS: -1.0}
SAME_KIND, ALWAYS_NO = "same kind", "always no"
# the verdict of each cell, and a score: the larger, the more is gained above weight 1; below 0 at
# weights below 1
Forecast = tuple[list[str], list[float]]


def predictions(cells: pd.DataFrame) -> dict[str, Forecast]:
    """The verdict that each probe predicts for the cells, and its score; then two baselines.

    endpoint: its weight above, below or at 1. ρ·r: above 1 a gain, on noised data and along
    trajectories; else *blends* where the weight is below 1 with a gain above 5 %. w*: the same, but
    a gain above 1 must also be above 5 %. ρ > 0.5: a gain. The baselines: a gain for the same kind,
    and never. An undetermined probe predicts no gain; those that were not made are left out. (The
    thresholds are those of `notebooks/log.md`, set before the first matrix; those of w* before that
    of directions.)
    """

    def column(name: str) -> list[float]:
        if not made(name):
            return [-np.inf] * len(cells)
        return list(pd.to_numeric(cells[name]).fillna(-np.inf))

    def made(name: str) -> bool:
        return name in cells and bool(cells[name].notna().any())

    def by_errors(suffix: str, least: float | None = None) -> Forecast:
        keys = ("criterion", "weight", "gain")
        values = [column(f"predicted_{key}{suffix}") for key in keys]
        said = []
        for criterion, weight, gain in zip(*values, strict=True):
            blends = -np.inf < weight < 1 and gain > LEAST
            improves = criterion > 1 and (least is None or gain > least)
            said.append(IMPROVES if improves else BLENDS if blends else NO_GAIN)
        return said, values[0]

    weight, cosine = column("predicted_endpoint_weight"), column("predicted_cosine")
    endpoint = list(np.copysign(column("predicted_endpoint_gain"), np.subtract(weight, 1)))
    same = [float(a == b) for a, b in zip(cells["main_kind"], cells["guide_kind"], strict=True)]
    on_data, along = "predicted_criterion", "predicted_criterion_on_trajectories"
    by_probe: list[tuple[str, str, Forecast]] = [
        (
            "predicted_endpoint_weight",
            "endpoint",
            (
                [IMPROVES if w > 1 else BLENDS if -np.inf < w < 1 else NO_GAIN for w in weight],
                [each if np.isfinite(each) else -np.inf for each in endpoint],
            ),
        ),
        (on_data, "ρ·r > 1", by_errors("")),
        (along, "ρ·r > 1, trajectories", by_errors("_on_trajectories")),
        (on_data, "w*", by_errors("", LEAST)),
        (along, "w*, trajectories", by_errors("_on_trajectories", LEAST)),
        (
            "predicted_cosine",
            "ρ > 0.5",
            ([IMPROVES if each > 0.5 else NO_GAIN for each in cosine], cosine),
        ),
    ]
    return {name: said for needs, name, said in by_probe if made(needs)} | {
        SAME_KIND: ([IMPROVES if each else NO_GAIN for each in same], same),
        ALWAYS_NO: ([NO_GAIN] * len(cells), [0.0] * len(cells)),
    }


def read_forecasts(text: str, name: str) -> pd.DataFrame:
    """The forecasts of a CSV file: a row per cell, by `main` and `guide` or by their kinds.

    The kinds are `main_kind` and `guide_kind`; `coupling` and `rule` may be given too. Every other
    column in which all values are verdicts is a forecast; further columns, such as predicted
    weights, are ignored. Raises InputError, with the file's name, for a text that is not such a
    table.
    """
    try:
        found = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"forecasts {name}: not a CSV file ({error}).") from None
    keys = _keys(found)
    if not keys:
        raise InputError(
            f"forecasts {name}: found the columns {', '.join(map(str, found))[:200]}; accepted: "
            "main and guide, or main_kind and guide_kind, and one column for each forecast."
        )
    repeated = found[found.duplicated(keys)]
    if len(repeated):
        raise InputError(
            f"forecasts {name}: two rows of {' → '.join(repeated.iloc[0][keys])}; accepted: one."
        )
    if not _columns(found):
        raise InputError(
            f"forecasts {name}: found no column of verdicts; accepted: {', '.join(ORDER)}."
        )
    return found


def forecasts_of(probed: Sequence[Mapping[str, Any]], by_kind: bool) -> str:
    """What the probes predict of pairings, as a CSV file of forecasts.

    probed: the rows of `study probe`; by_kind: of a matrix, whose strengths are calibrated anew
    elsewhere. Beside each forecast stand the predicted weights.
    """
    cells = pd.DataFrame([cell_of(row) for row in probed])
    values = pd.DataFrame([predicted(row) for row in probed])
    ends = ["main_kind", "guide_kind"] if by_kind else ["main", "guide"]
    found = cells[[*ends, "coupling", "rule"]]
    for name, (said, _) in predictions(pd.concat([cells, values], axis=1)).items():
        found = found.assign(**{name: said})
    beside = [name for name in values if str(name).endswith(("weight", "gain", "trajectories"))]
    shown = values[beside].astype(float).round(3)
    text: str = pd.concat([found, shown], axis=1).to_csv(index=False)
    return text


def cell_of(pairing: Mapping[str, Any]) -> dict[str, str]:
    """What a pairing is named by: its main and guide, their kinds, coupling and rule."""
    names = {key: str(pairing[key]) for key in ("main", "guide", "coupling", "rule")}
    return names | {f"{key}_kind": kind_of(names[key]) for key in ("main", "guide")}


def predicted(probe: Mapping[str, Any]) -> dict[str, Any]:
    """The predictions of one pairing's probes, flat: those of a row of `study probe`."""
    keys, along = ("cosine", "ratio", "criterion", "gain", "weight"), "on_trajectories"
    more = ("endpoint_weight", "endpoint_gain", "loss_weight")
    return {f"predicted_{key}": probe.get(key) for key in (*keys, *more)} | {
        f"predicted_{key}_{along}": probe.get(along, {}).get(key) for key in keys
    }


def missing(forecasts: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """The cells without a forecast, named main → guide."""
    keys = _keys(forecasts)
    known = {tuple(row[keys]) for _, row in forecasts.iterrows()}
    wanted = [tuple(row[keys]) for _, row in cells.iterrows()]
    return [" → ".join(key[:2]) for key in wanted if key not in known]


def written(forecasts: pd.DataFrame, cells: pd.DataFrame) -> dict[str, Forecast]:
    """The forecasts that were written down, of the cells of a study.

    Each is named by its column. Of a cell without one it says nothing, "".
    """
    keys, found = _keys(forecasts), {}
    rows = {tuple(row[keys]): row for _, row in forecasts.iterrows()}
    for column in _columns(forecasts):
        of_cells = (rows.get(tuple(row[keys])) for _, row in cells.iterrows())
        said = ["" if row is None else str(row[column]) for row in of_cells]
        found[f"{column}, written"] = said, [ORDER.get(each, 0.0) for each in said]
    return found


def _keys(forecasts: pd.DataFrame) -> list[str]:
    """The columns that say which cell a row is about; empty if there are none."""
    for keys in (["main", "guide"], ["main_kind", "guide_kind"]):
        if set(keys) <= set(forecasts):
            return [*keys, *(key for key in ("coupling", "rule") if key in forecasts)]
    return []


def _columns(forecasts: pd.DataFrame) -> list[str]:
    verdicts = (name for name in forecasts if name not in _keys(forecasts))
    return [str(name) for name in verdicts if set(forecasts[name]) <= ORDER.keys()]


def score(cells: pd.DataFrame, forecasts: pd.DataFrame | None = None) -> pd.DataFrame:
    """How well each forecast agrees with the verdicts of the cells: a row for each.

    Those of the probes (`predictions`), of two baselines, and of those written down; over all cells
    and over those of different kinds. improves, predicted: numbers of cells with a gain, and with a
    predicted one; agreement: share of cells where the forecast of a gain is right; missed, wrong:
    numbers of false negatives and false positives; r_k: the multiclass correlation with the
    verdicts, of which undecided is one; beyond: r_k less that of "same kind", with intervals over
    kinds; auc: P(a decided cell with a gain has a larger score than one without);
    rank_correlation: Spearman's, of the score with what was recovered at the tested weight, whether
    shown or not, with the sign of that weight less 1; p: of that, by permuting kinds.
    """
    found = []
    for over, some in (
        ("all", cells),
        ("different kinds", cells[cells["main_kind"] != cells["guide_kind"]]),
    ):
        if not len(some):
            continue
        said = predictions(some) | (written(forecasts, some) if forecasts is not None else {})
        found += [{"over": over, **row} for row in _scored(some, said)]
    return pd.DataFrame(found)


def _scored(cells: pd.DataFrame, forecasts: Mapping[str, Forecast]) -> list[dict[str, Any]]:
    verdicts = list(cells["verdict"])
    improves = [each == IMPROVES for each in verdicts]
    kinds = Cells(list(cells["main_kind"]), list(cells["guide_kind"]))
    decided = np.array([each in ORDER for each in verdicts])
    recovered = pd.to_numeric(cells["tested_recovered"]).to_numpy(float)
    if "tested_weight" in cells:
        recovered = recovered * np.sign(pd.to_numeric(cells["tested_weight"]).to_numpy(float) - 1)
    known = np.isfinite(recovered)
    same = forecasts[SAME_KIND][0]

    def r_k(said: Sequence[str], chosen: Any) -> float:
        return multiclass_correlation([said[i] for i in chosen], [verdicts[i] for i in chosen])

    every, found = range(len(cells)), []
    for name, (said, value) in forecasts.items():
        ends = kinds.interval(lambda chosen, said=said: r_k(said, chosen))  # type: ignore[misc]
        more = kinds.interval(
            lambda chosen, said=said: r_k(said, chosen) - r_k(same, chosen)  # type: ignore[misc]
        )
        pairs = [(each == IMPROVES, gain) for each, gain in zip(said, improves, strict=True)]
        found.append(
            {
                "forecast": name,
                "cells": len(cells),
                "improves": sum(improves),
                "predicted": sum(each for each, _ in pairs),
                "agreement": float(np.mean([a == b for a, b in pairs])),
                "missed": sum(b and not a for a, b in pairs),
                "wrong": sum(a and not b for a, b in pairs),
                "r_k": r_k(said, every),
                **_ends("r_k", ends),
                "beyond": r_k(said, every) - r_k(same, every),
                **_ends("beyond", more),
                "auc": area_under_curve(_only(value, decided), _only(improves, decided))
                if decided.any()
                else None,
                **_ranked(cells[known], _only(value, known), list(recovered[known])),
            }
        )
    return found


def _only(values: Sequence[Any], chosen: "np.ndarray[Any, Any]") -> list[Any]:
    return [value for value, is_chosen in zip(values, chosen, strict=True) if is_chosen]


def _ranked(
    cells: pd.DataFrame, value: list[float], recovered: list[float]
) -> dict[str, float | None]:
    if not recovered:
        return {"rank_correlation": None, "p": None}
    kinds = Cells(list(cells["main_kind"]), list(cells["guide_kind"]))
    return {
        "rank_correlation": rank_correlation(value, recovered),
        "p": kinds.permutation_p(value, recovered),
    }


def _ends(name: str, interval: tuple[float, float] | None) -> dict[str, float]:
    low, high = interval or (np.nan, np.nan)
    return {f"{name}_low": low, f"{name}_high": high}


def stated(versions: Sequence[Mapping[str, Any]], name: str) -> str:
    """When forecasts were kept, in words, and whether they were changed since.

    versions: those seen, each with its `sha256`, the number of guided `evaluations` that existed
    then, and the time `at`.
    """
    first, later = versions[0], versions[1:]
    text = f"Forecasts of {name} (SHA-256 {first['sha256'][:12]}…, {first['at']}): "
    if first["evaluations"] == 0:
        text += "kept before the first guided evaluation."
    else:
        text += f"FIRST SEEN AFTER {first['evaluations']} GUIDED EVALUATIONS, may know results."
    if later:
        change = later[0]
        text += (
            f" THE FILE WAS CHANGED after {change['evaluations']} guided evaluations "
            f"({change['at']}, SHA-256 {change['sha256'][:12]}…); compared are the forecasts as "
            "they were first."
        )
    return text
