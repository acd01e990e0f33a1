"""The command `samplers`: FD against network evaluations for solvers and grids."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from degradations import InputError, parse_rule
from study.engine.check import evaluator_of, require_rule
from study.engine.report import write
from study.evaluation.evaluator import Evaluator
from study.evaluation.parts import Parts
from study.files.places import report_folder
from study.files.regular import read_json
from study.records.statistics import jackknife
from study.records.task import BASE, Task
from study.report import samplers as shown
from study.sampling import Solver, grid_of, solver_of
from study.specs import PairingSpec, SamplerSpec, StudySpec

BUDGETS = (8, 16, 32, 64)  # network evaluations per sample
KEPT = "samplers.json"
MOST_BYTES = 50_000_000


class Wanted(NamedTuple):
    """Solvers and grids by name, budgets of NFE, and the weight of the pairing."""

    solvers: Sequence[str]
    grids: Sequence[str]
    budgets: Sequence[int] = BUDGETS
    weight: float = 2.0


def compare(
    spec: StudySpec, root: Path, wanted: Wanted, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """FD of the base, and of the study's first pairing at a weight, by solver, grid and NFE.

    Each as many steps as a budget of NFE allows; one seed set, the search's, of `search.samples`.
    Written into root/reports/NAME/samplers.json after every evaluation, which a repeated command
    does not make again, with a table and a figure. Raises InputError, before anything is sampled,
    for unknown names and for budgets below what a solver needs.
    """
    samplers = list(_samplers(spec, wanted))
    evaluator = evaluator_of(replace(spec, matrix=None), root)
    for sampler in samplers:
        for guided in spec.pairings[:1]:
            require_rule(parse_rule(guided.rule), sampler, evaluator.base)
    folder, rows = report_folder(root, spec.name), list[dict[str, Any]]()
    kept = _kept(folder / KEPT)
    for sampler in samplers:
        for pairing in (None, *spec.pairings[:1]):
            own, task = _evaluation(evaluator, sampler, pairing, wanted.weight)
            key = _key(own, task)
            if key not in kept:
                kept[key] = _rows(own, task)
                write(folder / KEPT, json.dumps(kept, ensure_ascii=False, allow_nan=False))
                first = kept[key][0]
                say(
                    f"{first['denoiser']}: {first['solver']}, {first['grid']}, NFE "
                    f"{first['nfe']}: {first['metric']} {first['fd']:.4g}"
                )
            rows += kept[key]
    write(folder / "samplers.md", shown.render(rows, "md"))
    shown.figure(rows, folder / "samplers.png")
    return rows


def _samplers(spec: StudySpec, wanted: Wanted) -> Iterator[SamplerSpec]:
    for name in wanted.solvers:
        solver = solver_of(name)
        for budget in wanted.budgets:
            steps = _steps(solver, budget)
            for grid in wanted.grids:
                yield replace(
                    spec.sampler,
                    solver=str(solver),
                    grid=str(grid_of(grid)),
                    steps=steps,
                    sigmas=(),
                )


def _steps(solver: Solver, budget: int) -> int:
    """The most steps within a budget of NFE. Raises InputError if there are too few."""
    least = solver.least_steps
    if budget < solver.nfe(least):
        raise InputError(
            f"--nfe: found {budget}; accepted with {solver}: at least {solver.nfe(least)}, of its "
            f"{least} steps."
        )
    steps = least
    while solver.nfe(steps + 1) <= budget:
        steps += 1
    return steps


def _evaluation(
    evaluator: Evaluator, sampler: SamplerSpec, pairing: PairingSpec | None, weight: float
) -> tuple[Evaluator, Task]:
    """The evaluator of a sampler, with the parts of another, and the task that it makes."""
    spec = replace(evaluator.spec, sampler=sampler)
    parts = Parts(evaluator.extractors, evaluator.references, evaluator.decoder)
    own = Evaluator(spec, evaluator.base, parts, evaluator.variant)
    at = spec.seed, spec.search.samples, sampler.steps
    return own, Task.single(BASE, *at) if pairing is None else Task.guided(pairing, weight, *at)


def _rows(evaluator: Evaluator, task: Task) -> list[dict[str, Any]]:
    sampler, outcome = evaluator.spec.sampler, evaluator.outcome(task)
    solver, found = solver_of(sampler.solver), []
    for metric in evaluator.spec.metrics:
        error = jackknife(outcome.scores[metric], outcome.replicates[metric])
        found.append(
            {
                "denoiser": task.name,
                "weight": task.weight,
                "solver": sampler.solver,
                "grid": sampler.grid,
                "steps": sampler.steps,
                "nfe": solver.nfe(sampler.steps),
                "nfe_all": outcome.network_evaluations // task.samples,
                "metric": metric,
                "fd": outcome.scores[metric],
                "fd_ci": [error.low, error.high],
            }
        )
    return found


def _key(evaluator: Evaluator, task: Task) -> str:
    """What determines a score: the evaluator's fingerprint and the task."""
    text = json.dumps([evaluator.fingerprint(), asdict(task)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of earlier evaluations, by key."""
    if not path.exists():
        return {}
    found = read_json(path, MOST_BYTES, "not the scores of `study samplers`")
    if not isinstance(found, dict):
        raise InputError(f"{path}: not the scores of `study samplers`; remove it.")
    return found
