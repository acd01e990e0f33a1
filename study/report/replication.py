"""The table of a study over several bases: what holds over trainings, not of one of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.records.conclusions import Conclusion, Verdict, conclusions
from study.records.confirmation import Sets
from study.records.multiplicity import Correction
from study.records.replication import OverBases, Spread, mean_over, spread
from study.records.results import Results
from study.records.task import BASE, Task, kind_of
from study.report.formats import require_format
from study.report.rows import rows as rows_of_base
from study.report.table import FORMATS, latex
from study.specs import HELD_OUT, PairingSpec

QUANTITIES = {"fd_base": "FD of the base", "fd_main": "FD of the main", "gain": "gain"}


@dataclass(frozen=True)
class _OnBase:
    """A pairing on one base: its results, its conclusion, and its row of that base's table."""

    base: str
    results: Results
    concluded: Conclusion
    row: dict[str, Any]

    @property
    def moved(self) -> bool:
        """Whether the search preferred a weight other than 1."""
        return self.concluded.task is not None and len(self.concluded.tested) == 1

    @property
    def gain(self) -> float:
        """The mean gain at the weight that the search preferred, 0 if that is 1."""
        return float(self.row["gain"]) if self.moved else 0.0

    def sets(self, quantity: str, by_reference: bool = False) -> Sets:
        """FD of the base, of the main, or the gain, over the seed sets used."""
        read = self.results.sets_by_reference if by_reference else self.results.sets
        n, metric = self.concluded.sets, self.row["metric"]

        def of(tasks: Sequence[Task]) -> Sets:
            return read(tasks[:n], metric)

        main = of(self.results.confirmed_single(self.concluded.pairing.main))
        if quantity == "fd_main":
            return main
        if quantity == "fd_base":
            return of(self.results.confirmed_single(BASE))
        assert self.concluded.task is not None
        return main - of(self.results.confirmed(self.concluded.task))


def rows(bases: Mapping[str, Results], metric: str | None = None) -> list[dict[str, Any]]:
    """One row per pairing, over all bases: means of base means, and intervals over bases.

    Pairings of a matrix are those of equal kinds, whose strengths differ between bases. A pairing
    that fewer than two bases have been confirmed for is undecided. `weights` and `verdicts` are
    those of each base.
    """
    found: dict[tuple[str, ...], list[_OnBase]] = {}
    for base, results in bases.items():
        name = metric or results.primary
        together = zip(rows_of_base(results, name), conclusions(results, name), strict=True)
        for row, concluded in together:
            found.setdefault(_key(results, concluded.pairing), []).append(
                _OnBase(base, results, concluded, row)
            )
    if not found:
        return []
    correction = Correction.of(len(found))
    known = [[each for each in cell if each.concluded.comparison] for cell in found.values()]
    over = [_over(cell) if len(cell) > 1 else None for cell in known]
    findings = correction.findings([1.0 if each is None else each.p for each in over])
    coverage = correction.coverage(sum(findings))
    return [
        _row(key, cell, known_there, each, finding, correction, coverage if finding else 0.95)
        for (key, cell), known_there, each, finding in zip(
            found.items(), known, over, findings, strict=True
        )
    ]


def _key(results: Results, pairing: PairingSpec) -> tuple[str, ...]:
    """What is equal of a pairing on all bases: its names, or its kinds if it is of a matrix."""
    main, guide = pairing.main, pairing.guide
    if results.spec.matrix is not None:
        main, guide = kind_of(main), kind_of(guide)
    return main, guide, pairing.coupling, pairing.rule


def _over(cell: Sequence[_OnBase]) -> OverBases:
    damage = [float(each.row["fd_main"] - each.row["fd_base"]) for each in cell]
    return OverBases(
        [each.gain for each in cell], damage, [float(each.row["gain"]) for each in cell]
    )


def _row(
    key: tuple[str, ...],
    cell: Sequence[_OnBase],
    known: Sequence[_OnBase],
    over: OverBases | None,
    finding: bool,
    correction: Correction,
    coverage: float,
) -> dict[str, Any]:
    main, guide, coupling, rule = key
    first, weights = cell[0].row, [_weight(each) for each in known]
    moved = [weight for weight in weights if weight != 1]
    verdict: Verdict = "undecided"
    if finding:
        verdict = "improves" if float(np.mean(moved)) > 1 else "blends"
    elif over is not None and over.is_none:
        verdict = "no gain"
    recovered = over.recovered(coverage) if over else None
    shown = [each.row["tested_fd" if each.moved and finding else "fd_main"] for each in known]
    slope = mean_over([each.row["slope"] for each in cell if each.row["slope"] is not None])
    return {
        "pairing": f"{main} → {guide}",
        "main": main,
        "guide": guide,
        "coupling": coupling,
        "rule": rule,
        "metric": first["metric"],
        "samples": first["samples"],
        "steps": first["steps"],
        "precision": first["precision"],
        "seeds": max((each.row["seeds"] for each in cell), key=len),
        "bases": [each.base for each in known],
        "fd_base": _mean([each.row["fd_base"] for each in known]),
        "fd_main": _mean([each.row["fd_main"] for each in known]),
        "fd_guide": _mean([each.row["fd_guide"] for each in known]),
        "weight": float(np.mean(weights)) if finding else 1.0,
        "fd": _mean(shown),
        "fd_sd": float(np.std(shown, ddof=1)) if len(shown) > 1 else None,
        "recovered": (recovered.mean if finding else 0.0) if recovered else None,
        "recovered_ci": [recovered.low, recovered.high] if recovered and finding else None,
        "verdict": verdict,
        "correction": str(correction),
        "coverage": coverage,
        "p": over.p if over else None,
        "slope": slope.mean if slope else None,
        "slope_ci": [slope.low, slope.high] if slope else None,
        "tested_recovered": recovered.mean if recovered else None,
        "tested_recovered_ci": [recovered.low, recovered.high] if recovered else None,
        "weights": weights,
        "verdicts": [each.concluded.verdict for each in cell],
        "gains": [each.gain for each in known],
        "spread": {name: _spread(known, name) for name in QUANTITIES} if over else {},
    }


def _weight(each: _OnBase) -> float:
    return each.concluded.task.weight if each.moved and each.concluded.task else 1.0


def _spread(cell: Sequence[_OnBase], quantity: str) -> dict[str, list[float]]:
    """The standard deviations of a quantity and the ends of their intervals, by source."""
    left_out = [each.sets(quantity, by_reference=True) for each in cell]
    known = all(each.replicates.shape[1] for each in left_out)
    own_reference = cell[0].results.spec.reference == HELD_OUT
    found: Spread = spread(
        [each.sets(quantity) for each in cell], left_out if known else (), own_reference
    )
    return {
        name: [estimate.mean, estimate.low, estimate.high]
        for name, estimate in vars(found).items()
        if estimate is not None
    }


def frame(table: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a data frame for display."""

    def interval(value: float | None, ends: Sequence[float] | None) -> str:
        if value is None:
            return "–"
        return f"{value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")

    def fd(value: float | None) -> str:
        return "–" if value is None else f"{value:.3g}"

    return pd.DataFrame(
        [
            {
                "pairing": row["pairing"],
                "coupling": row["coupling"],
                "base": fd(row["fd_base"]),
                "main": fd(row["fd_main"]),
                "guide": fd(row["fd_guide"]),
                "slope": interval(row["slope"], row["slope_ci"]),
                "w": ", ".join(f"{weight:g}" for weight in row["weights"]),
                "guided": f"{fd(row['fd'])} ± {fd(row['fd_sd'])}",
                "recovered": interval(row["recovered"], row["recovered_ci"]),
                "verdict": row["verdict"],
                "bases": len(row["bases"]),
                "alone": _counted(row["verdicts"]),
            }
            for row in table
        ]
    )


def spreads(table: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Where the variation of base, main and gain comes from, as standard deviations."""

    def shown(values: Sequence[float] | None) -> str:
        return "–" if values is None else "{:.3g} [{:.3g}, {:.3g}]".format(*values)

    found = pd.DataFrame(
        [
            {
                "pairing": "" if key == "fd_base" else row["pairing"],
                "quantity": words,
                **{
                    source: shown(row["spread"][key].get(source))
                    for source in ("training", "sampling", "reference")
                },
            }
            for row in table
            for key, words in QUANTITIES.items()
            if row["spread"]
        ]
    )
    return found.drop_duplicates()


def caption(table: Sequence[dict[str, Any]]) -> str:
    """The caption of the table, which says what its intervals are over."""
    if not table:
        return "No pairings."
    row, most = table[0], max(len(each["bases"]) for each in table)
    sets = max(len(each["seeds"]) for each in table)
    coverage = min((each["coverage"] for each in table if each["recovered_ci"]), default=0.95)
    return (
        f"{row['metric']}, means over {most} bases, each over up to {sets} seed sets of "
        f"{row['samples']} samples, {row['steps']} steps in {row['precision']}. Intervals are over "
        "bases (Student's t of base means), that of recovered at "
        f"{100 * coverage:.3g} %; verdicts are {row['correction']}; w: the weight of each base, "
        "found on its own search's seeds; guided: ± standard deviation over bases; alone: the "
        "verdicts of the bases, each by its own seed sets. Training, sampling, reference: standard "
        "deviations between bases beyond their samples, between seed sets of one base, and over "
        "samples of the reference, with 95 % intervals."
    )


def render(table: Sequence[dict[str, Any]], form: str) -> str:
    """The table as md, csv, json or latex. Raises InputError for another format."""
    require_format(form, FORMATS)
    if form == "json":
        return json.dumps(list(table), indent=2, ensure_ascii=False, allow_nan=False)
    if form == "csv":
        text: str = pd.DataFrame(list(table)).to_csv(index=False)
        return text.rstrip("\n")
    if form == "latex":
        return latex(frame(table), caption(table))
    parts = [each for each in (frame(table), spreads(table)) if len(each)]
    shown = [each.to_markdown(index=False, disable_numparse=True) for each in parts]
    return "\n\n".join([*shown, caption(table)])


def _counted(verdicts: Sequence[str]) -> str:
    names = dict.fromkeys(verdicts)
    return ", ".join(f"{list(verdicts).count(name)} {name}" for name in names)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
