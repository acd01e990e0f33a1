"""The table of a study."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from degradations import InputError, parse_rule
from study.records.conclusions import Conclusion, conclusions
from study.records.results import Results
from study.records.task import BASE, Task, rounded
from study.report.formats import TABLES, require_format
from study.sampling import nfe
from study.specs import CONSTANT, PairingSpec

REPORTED_IN_PAPERS, FIELD_SAMPLES = ("fd_inception", "fd_inception_tf", "fd_dinov2"), 50_000
FORMATS = (*TABLES, "latex")


def rows(results: Results, metric: str | None = None) -> list[dict[str, Any]]:
    """One row per pairing: mean FDs over the confirmation's seed sets, and the verdict.

    Each metric has its own best weight. Without an improvement, `weight` is 1 and `fd` is
    `fd_main`; `tested_weight` and `tested_fd` are those of the tested task. Raises InputError
    for a metric that was not measured.
    """
    metric = metric or results.primary
    if metric not in results.metrics:
        raise InputError(
            f"metric '{metric}': the Fréchet distances of this study are "
            f"{', '.join(results.metrics)}."
        )
    return [_row(results, each, metric) for each in conclusions(results, metric)]


def _row(results: Results, concluded: Conclusion, metric: str) -> dict[str, Any]:
    spec, pairing, task = results.spec, concluded.pairing, concluded.task
    n, won, compared = concluded.sets or spec.confirm.looks[0], concluded.won, concluded.comparison
    guided_by = results.guide(pairing, task) if task else pairing.guide

    def fd(tasks: Sequence[Task], key: str = metric) -> list[float] | None:
        return results.values(tasks[:n], key)

    base, main, guide = (
        fd(results.confirmed_single(name)) for name in (BASE, pairing.main, guided_by)
    )
    guided = fd(results.confirmed(task)) if task else None
    shown = guided if won else main
    uses_main = not (won and task) or parse_rule(task.rule).uses_main(task.weight)
    recovered = compared.recovered if compared else None
    interval = compared.recovered_ci(concluded.coverage) if compared else None
    slope = results.slope(pairing, metric)
    return {
        "pairing": f"{pairing.main} → {pairing.guide}",
        "main": pairing.main,
        "guide": pairing.guide,
        "coupling": pairing.coupling,
        "rule": pairing.rule,
        "metric": metric,
        "samples": spec.confirm.samples,
        "steps": spec.sampler.steps,
        "precision": "fp32" if spec.precision == "auto" else spec.precision,
        "seeds": spec.seeds[:n],
        "fd_base": _mean(base),
        "fd_main": _mean(main),
        "fd_guide": _mean(guide),
        "weight": task.weight if won and task else 1.0,
        "fd": _mean(shown),
        "fd_sd": _sd(shown),
        "recovered": recovered if won or recovered is None else 0.0,
        "recovered_ci": list(interval) if won and interval else None,
        "verdict": concluded.verdict,
        "correction": str(concluded.correction),
        "coverage": concluded.coverage,
        "p": compared.p if compared else None,
        "slope": slope.mean if slope else None,
        "slope_ci": [slope.low, slope.high] if slope else None,
        "fd_min": min(shown) if shown else None,
        "tested_weights": [each.weight for each in concluded.tested],
        "tested_weight": task.weight if task else None,
        "tested_guide": guided_by,
        "tested_rule": task.rule if task else pairing.rule,
        "tested_fd": _mean(guided),
        "tested_recovered": recovered,
        "tested_recovered_ci": list(interval) if interval else None,
        "gain": compared.gain if compared else None,
        "gain_bounds": list(compared.gain_ci(0.9)) if compared else None,
        "nfe_main": nfe(spec.sampler) if uses_main else 0,
        "nfe_guide": nfe(spec.sampler) if won else 0,
        "fd_base_double_steps": _mean(fd(results.confirmed_single(BASE, double=True))),
        "fd_main_double_steps": _mean(fd(results.confirmed_single(pairing.main, double=True))),
        "fd_main_averaged": _mean(fd(results.averaged(pairing.main))),
        **_held_out(results, pairing, task if won else None, n, metric),
    }


def _held_out(
    results: Results, pairing: PairingSpec, tested: Task | None, n: int, metric: str
) -> dict[str, float | None]:
    """FD of base, main and guided to held-out data, if there are any."""
    name = f"{metric}_held_out"
    found = {"base": results.confirmed_single(BASE), "main": results.confirmed_single(pairing.main)}
    found["guided"] = results.confirmed(tested) if tested else found["main"]
    values = {
        f"held_out_fd_{key}": _mean(results.values(tasks[:n], name)) for key, tasks in found.items()
    }
    return {} if values["held_out_fd_base"] is None else values


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
    return pd.DataFrame(
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
                **{
                    f"{key}, held out": fd(row[f"held_out_fd_{key}"])
                    for key in ("base", "main", "guided")
                    if "held_out_fd_base" in row
                },
            }
            for row in table
        ]
    )


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
        f"{100 * coverage:.3g} %; verdicts are {row['correction']}; no gain: a gain of 5 % of the "
        "damage is excluded at the weights given; sets: seed sets until the verdict was decided; "
        "2× steps, 2 draws: controls at the same cost as guidance, twice the steps, and two draws "
        "of the main averaged at every evaluation (– if it is deterministic)."
        f"{_warning(row)}"
    )


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
    require_format(form, FORMATS)
    if form == "json":
        return json.dumps(list(table), indent=2, ensure_ascii=False, allow_nan=False)
    if form == "csv":
        text: str = pd.DataFrame(list(table)).to_csv(index=False)
        return text.rstrip("\n")
    if form == "latex":
        latex: str = frame(table).to_latex(index=False, escape=True, caption=caption(table))
        return (
            latex.replace("→", r"$\to$")
            .replace("±", r"$\pm$")
            .replace("×", r"$\times$")
            .replace("≠", r"$\neq$")
        )
    markdown: str = frame(table).to_markdown(index=False, disable_numparse=True)
    return f"{markdown}\n\n{caption(table)}"


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else float(np.mean(values))


def _sd(values: Sequence[float] | None) -> float | None:
    return None if values is None else float(np.std(values, ddof=1))


def _digits(values: Sequence[float | None]) -> int:
    """Decimals that show the smallest of the values to three significant digits."""
    positive = [value for value in values if value is not None and value > 0]
    return int(np.clip(2 - np.floor(np.log10(min(positive))), 0, 8)) if positive else 3
