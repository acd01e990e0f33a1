"""The table of a study over several bases: what holds over trainings, not of one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.records.conclusions import Conclusion, Verdict, comparisons, conclusions
from study.records.confirmation import Comparison, Sets
from study.records.multiplicity import Correction
from study.records.replication import OverBases, Spread, mean_over, spread
from study.records.results import Results
from study.records.task import BASE, Task, kind_of
from study.report.rows import row as row_of
from study.report.table import rendered
from study.specs import PairingSpec, StudySpec

QUANTITIES = {"fd_base": "FD of the base", "fd_main": "FD of the main", "gain": "gain"}


@dataclass(frozen=True)
class _OnBase:
    """A pairing on one base: its results, its conclusion, and its row of that base's table."""

    base: str
    results: Results
    concluded: Conclusion
    row: dict[str, Any]

    @property
    def ended(self) -> bool:
        """Whether its confirmation has ended, which the primary metric decides."""
        found = comparisons(self.results, self.concluded.pairing, self.results.primary)
        return bool(found) and all(each.ended for each in found)

    @property
    def compared(self) -> Comparison | None:
        return self.concluded.comparison if self.ended else None

    @property
    def moved(self) -> bool:
        """Whether the search preferred a weight other than 1."""
        best = self.results.best_task(self.concluded.pairing, self.row["metric"])
        return best is not None and best.weight != 1

    @property
    def weight(self) -> float:
        """The weight that the search preferred."""
        return self.concluded.task.weight if self.moved and self.concluded.task else 1.0

    def sets(self, quantity: str, by_reference: bool = False) -> Sets:
        """FD of the base, of the main, or the gain, over the seed sets used.

        Where the search preferred weight 1, nothing is gained.
        """
        assert self.compared is not None
        assert self.concluded.task is not None
        n, metric = self.compared.sets, self.row["metric"]

        def of(tasks: Sequence[Task]) -> Sets:
            return self.results.sets(tasks[:n], metric, by_reference)

        if quantity == "fd_base":
            return of(self.results.confirmed_single(BASE))
        main = of(self.results.confirmed_single(self.concluded.pairing.main))
        if quantity == "fd_main":
            return main
        return main - (of(self.results.confirmed(self.concluded.task)) if self.moved else main)


def rows(
    spec: StudySpec, bases: Mapping[str, Results], metric: str | None = None
) -> list[dict[str, Any]]:
    """One row per pairing, over all bases: means of base means, and intervals over bases.

    Pairings of a matrix are those of equal kinds, whose strengths differ between bases; the
    config's own are those of equal names. A pairing is undecided until its confirmation has ended
    on every base of the study, so that nothing is tested repeatedly as bases arrive. `bases`,
    `weights` and `verdicts` are those of each base, as far as it has come.
    """
    found: dict[tuple[str, ...], list[_OnBase]] = {}
    for base, results in bases.items():
        name = metric or results.primary
        for concluded in conclusions(results, name):
            here = _OnBase(base, results, concluded, row_of(results, concluded, name))
            found.setdefault(_key(spec, concluded.pairing), []).append(here)
    if not found:
        return []
    correction = Correction.of(len(found))
    known = [[each for each in cell if each.compared] for cell in found.values()]
    over = [_over(cell) if len(cell) > 1 else None for cell in known]
    whole = [len(cell) == len(spec.bases) for cell in known]
    p = [each.p if each and all_ended else 1.0 for each, all_ended in zip(over, whole, strict=True)]
    findings = correction.findings(p)
    coverage = correction.coverage(sum(findings))
    together = zip(found.items(), known, over, whole, findings, strict=True)
    return [
        {
            **_named(key, cell),
            **_measured(known_there, each, finding, coverage if finding else 0.95),
            "verdict": _verdict(known_there, each, all_ended, finding),
            "correction": str(correction),
            "p": each.p if each else None,
        }
        for (key, cell), known_there, each, all_ended, finding in together
    ]


def _key(spec: StudySpec, pairing: PairingSpec) -> tuple[str, ...]:
    """What is equal of a pairing on all bases: its names, or its kinds if it is of the matrix."""
    main, guide = pairing.main, pairing.guide
    if pairing not in spec.pairings:
        main, guide = kind_of(main), kind_of(guide)
    return main, guide, pairing.coupling, pairing.rule


def _over(cell: Sequence[_OnBase]) -> OverBases:
    means = [{name: each.sets(name).mean for name in QUANTITIES} for each in cell]
    return OverBases(
        [each["gain"] for each in means],
        [each["fd_main"] - each["fd_base"] for each in means],
        [each.compared.gain for each in cell if each.compared],
    )


def _verdict(
    cell: Sequence[_OnBase], over: OverBases | None, all_ended: bool, finding: bool
) -> Verdict:
    """A gain is *improves* or *blends* if all bases that moved did so to the same side of 1."""
    if over is None or not all_ended:
        return "undecided"
    sides = {each.weight > 1 for each in cell if each.moved}
    if finding:
        return "undecided" if len(sides) > 1 else "improves" if True in sides else "blends"
    return "no gain" if over.is_none else "undecided"


def _named(key: tuple[str, ...], cell: Sequence[_OnBase]) -> dict[str, Any]:
    """What the row is about."""
    (main, guide, coupling, rule), first = key, cell[0].row
    return {
        "pairing": f"{main} → {guide}",
        "main": main,
        "guide": guide,
        "coupling": coupling,
        "rule": rule,
        **{name: first[name] for name in ("metric", "samples", "steps", "precision")},
        "seeds": max((each.row["seeds"] for each in cell), key=len),
        "bases": [each.base for each in cell],
        "weights": [each.weight if each.compared else None for each in cell],
        "verdicts": [each.concluded.verdict for each in cell],
    }


def _measured(
    cell: Sequence[_OnBase], over: OverBases | None, finding: bool, coverage: float
) -> dict[str, Any]:
    """The values of the row, over the bases whose confirmation has ended."""
    recovered = over.recovered(coverage) if over else None
    main = [each.sets("fd_main").mean for each in cell]
    shown = [each.sets("gain").mean for each in cell] if finding else [0.0] * len(cell)
    guided = [each - gain for each, gain in zip(main, shown, strict=True)]
    slope = mean_over([each.row["slope"] for each in cell if each.row["slope"] is not None])
    guides = [each.row["fd_guide"] for each in cell if each.row["fd_guide"] is not None]
    return {
        "fd_base": _mean([each.sets("fd_base").mean for each in cell]),
        "fd_main": _mean(main),
        "fd_guide": _mean(guides),
        "weight": _mean([each.weight for each in cell]) if finding else 1.0,
        "fd": _mean(guided),
        "fd_sd": float(np.std(guided, ddof=1)) if len(guided) > 1 else None,
        "recovered": (recovered.mean if finding else 0.0) if recovered else None,
        "recovered_ci": [recovered.low, recovered.high] if recovered and finding else None,
        "coverage": coverage,
        "slope": slope.mean if slope else None,
        "slope_ci": [slope.low, slope.high] if slope else None,
        "gains": list(over.gain) if over else [],
        "spread": {name: _spread(cell, name) for name in QUANTITIES} if over else {},
    }


def _spread(cell: Sequence[_OnBase], quantity: str) -> dict[str, list[float]]:
    """The standard deviations of a quantity and the ends of their intervals, by source."""
    left_out = [each.sets(quantity, by_reference=True) for each in cell]
    known = all(each.replicates.shape[1] for each in left_out)
    references = {each.results.reference for each in cell}
    found: Spread = spread(
        [each.sets(quantity) for each in cell], left_out if known else (), len(references) > 1
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
                "w": ", ".join("–" if w is None else f"{w:g}" for w in row["weights"]),
                "guided": f"{fd(row['fd'])} ± {fd(row['fd_sd'])}",
                "recovered": interval(row["recovered"], row["recovered_ci"]),
                "verdict": row["verdict"],
                "bases": sum(weight is not None for weight in row["weights"]),
                "alone": _counted(row["verdicts"]),
            }
            for row in table
        ]
    )


def spreads(table: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Where the variation of base, main and gain comes from, as standard deviations."""

    def shown(values: Sequence[float] | None) -> str:
        return "–" if values is None else "{:.3g} [{:.3g}, {:.3g}]".format(*values)

    found, base_shown = [], False
    for row in sorted(table, key=lambda row: -len(row["seeds"])):
        for key, words in QUANTITIES.items() if row["spread"] else ():
            if key == "fd_base" and base_shown:
                continue  # one base is that of all pairings; that of the most seed sets is shown
            base_shown = True
            sources = ("training", "sampling", "reference")
            values = {source: shown(row["spread"][key].get(source)) for source in sources}
            name = "" if key == "fd_base" else row["pairing"]
            found.append({"pairing": name, "quantity": words, **values})
    return pd.DataFrame(found)


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
        "bases (Student's t of base means), over trainings and splits of this data set, that of "
        "recovered at "
        f"{100 * coverage:.3g} %; verdicts are {row['correction']}; w: the weight of each base, "
        "found on its own search's seeds; guided: ± standard deviation over bases; alone: the "
        "verdicts of the bases, each by its own seed sets. Training, sampling, reference: standard "
        "deviations between bases beyond their samples, between seed sets of one base, and over "
        "samples of the reference, with 95 % intervals."
    )


def render(table: Sequence[dict[str, Any]], form: str) -> str:
    """The table as md, csv, json or latex. Raises InputError for another format."""
    return rendered(table, form, [frame(table), spreads(table)], caption(table))


def _counted(verdicts: Sequence[str]) -> str:
    names = dict.fromkeys(verdicts)
    return ", ".join(f"{list(verdicts).count(name)} {name}" for name in names)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
