"""The rows of a study's table: plain values, one row per pairing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from degradations import InputError, Mixture, parse, parse_rule
from study.records import rescaling
from study.records.conclusions import Conclusion, conclusions
from study.records.confirmation import share
from study.records.results import Results
from study.records.task import BASE, Task
from study.sampling import nfe, solver_of
from study.specs import PairingSpec


def rows(results: Results, metric: str | None = None) -> list[dict[str, Any]]:
    """One row per pairing: mean FDs over the confirmation's seed sets, and the verdict.

    `Results.best_task` says at which weight a metric is confirmed. Without an improvement, `weight`
    is 1 and `fd` is `fd_main`; `tested_weight` and `tested_fd` are those of the tested task. Raises
    InputError for a metric that was not measured.
    """
    metric = metric or results.primary
    if metric not in results.metrics:
        raise InputError(
            f"metric '{metric}': the Fréchet distances of this study are "
            f"{', '.join(results.metrics)}."
        )
    return [row(results, each, metric) for each in conclusions(results, metric)]


def row(results: Results, concluded: Conclusion, metric: str) -> dict[str, Any]:
    """The row of one pairing."""
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
    of_main, of_guide = (nfe(spec.sampler), 0) if not (won and task) else _nfe(results, task)
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
        **_weights(task if won else None, guided_by),
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
        "nfe_main": of_main,
        "nfe_guide": of_guide,
        "fd_base_double_steps": _mean(fd(results.confirmed_single(BASE, double=True))),
        "fd_main_double_steps": _mean(fd(results.confirmed_single(pairing.main, double=True))),
        "fd_main_averaged": _mean(fd(results.averaged(pairing.main))),
        **_beyond_rescaling(results, concluded, metric),
        **_unbiased(results, concluded, metric),
        **{f"floor_{key}": fd for key, fd in results.floors.get(metric, {}).items()},
        **_held_out(results, pairing, task if won else None, n, metric),
    }


def _weights(task: Task | None, guide: str) -> dict[str, list[float]]:
    """The weight of each guide, if there are several."""
    found = None if "@" in guide or "&" not in guide else parse(guide)
    if not isinstance(found, Mixture):
        return {}
    return {"weights": found.weights(task.weight if task else 1.0)}


def _nfe(results: Results, task: Task) -> tuple[int, int]:
    """Evaluations per sample of main and guide that a guided task makes."""
    rule, sampler = parse_rule(task.rule), results.spec.sampler
    visits = solver_of(sampler.solver).visits([1.0] * sampler.steps + [0.0])
    awake = sum(not rule.idles(task.weight, step) for step, _ in visits)
    done = results.shared.get(results.confirmed(task)[0])
    both = done.outcome.network_evaluations // done.task.samples if done else 0
    if not rule.uses_main(task.weight):
        return 0, awake
    return awake, both - awake if both else awake


def _beyond_rescaling(
    results: Results, concluded: Conclusion, metric: str
) -> dict[str, str | float | list[float] | None]:
    """The main's best rescaling, and the share of the damage that guidance undoes beyond it.

    At the tested weight, whether its gain is a finding or not.
    """
    main, task, compared = concluded.pairing.main, concluded.task, concluded.comparison
    keys = ("main_rescaled", "fd_main_rescaled", "beyond_rescaling", "beyond_rescaling_ci")
    best = rescaling.best(results, main, metric) if results.controls() else None
    if best is None or task is None or compared is None:
        return dict.fromkeys(keys)
    n = compared.sets
    alone, base, rescaled = (
        results.sets(results.confirmed(each)[:n], metric)
        for each in (results.single(main), results.single(BASE), best)
    )
    if len(rescaled) < n:
        return dict.fromkeys(keys)
    guided = results.sets(results.confirmed(task)[:n], metric)
    beyond = share(rescaled - guided, alone - base)
    interval = compared.interval(*beyond, concluded.coverage) if beyond else None
    values = (
        best.main if best.churn_noise is None else f"{best.main}, S_noise {best.churn_noise:g}",
        rescaled.mean,
        beyond[0] if beyond else None,
        list(interval) if interval else None,
    )
    return dict(zip(keys, values, strict=True))


def _unbiased(results: Results, concluded: Conclusion, metric: str) -> dict[str, float | None]:
    """FD∞ of base, main and what is shown as guided, and what was recovered of them."""
    main = results.confirmed_single(concluded.pairing.main)
    won = concluded.won and concluded.task is not None
    shown = results.confirmed(concluded.task) if won and concluded.task else main
    base, alone, guided = (
        results.sets(tasks[: concluded.sets], metric).limit if concluded.sets else None
        for tasks in (results.confirmed_single(BASE), main, shown)
    )
    recovered, damaged = None, concluded.comparison and concluded.comparison.recovered is not None
    if won and damaged and base is not None and alone is not None and guided is not None:
        recovered = (alone - guided) / (alone - base) if alone > base else None
    return {
        "fd_infinity_base": base,
        "fd_infinity_main": alone,
        "fd_infinity": guided,
        "recovered_infinity": recovered,
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


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else float(np.mean(values))


def _sd(values: Sequence[float] | None) -> float | None:
    return None if values is None else float(np.std(values, ddof=1))
