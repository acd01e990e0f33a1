"""An evaluator that knows the answers, and workers that evaluate what a study wants by it."""

import math
import random
from collections.abc import Callable, Iterator

from degradations import RunError, parse
from study.engine import schedule
from study.records.results import Results
from study.records.task import BASE, Evaluation, Outcome, Task
from study.specs import ConfirmSpec, PairingSpec, SamplerSpec, SearchSpec, StudySpec

ALIKE = PairingSpec("noise(0.2)", "noise(0.4)", "shared")
APART = PairingSpec("noise(0.2)", "noise(0.4)")
MIXED = PairingSpec("noise(0.2)", "prune(0.4)")
SPEC = StudySpec(
    "x",
    base="digits",
    pairings=(ALIKE, APART, MIXED),
    sampler=SamplerSpec(solver="euler", steps=10),
    search=SearchSpec(samples=100, trials=6),
    confirm=ConfirmSpec(samples=200, seed_sets=2),
)
Evaluate = Callable[[Task], Outcome]


def is_stochastic(name: str) -> bool:
    return "noise" in name


def damage(name: str) -> float:
    """FD relative to the base's: 1.5 at the strength 0.25 for most kinds; one that saturates at 2.

    A main that is rescaled is best at a score 10 % larger."""
    if name == BASE:
        return 1.0
    first, _, rescaled = name.partition("+")
    strength: float = parse(first).strength  # type: ignore[attr-defined]
    ratio = 1 + 2 * strength
    ratio = min(ratio, 2.0) if first.startswith("dropout") else ratio
    if not rescaled:
        return ratio
    best = 0.1 if rescaled.startswith("score") else 0.0
    factor: float = parse(rescaled).strength  # type: ignore[attr-defined]
    return ratio * math.exp((factor - best) ** 2 - best**2)


def evaluate(task: Task) -> Outcome:
    """Guidance by the same kind is best at 1.8, or 2.1 with shared draws; by another at 0.7."""
    same = task.main.split("(")[0] == task.guide.split("(")[0]
    best = (2.1 if task.coupling == "shared" else 1.8) if same else 0.7
    if task.endpoint_probe:
        return Outcome({"fd_pixels": 1.0, "endpoint_weight_fd_pixels": max(best - 0.25, 1.0)})
    bend = 0.0 if task.weight == 1 else (task.weight - best) ** 2 - (1 - best) ** 2
    fd = damage(task.main) * math.exp(bend) * (1 + 0.01 * task.seed) / task.steps
    tilt = 0.01 * (task.weight - 1)
    return Outcome(
        {"fd_pixels": fd}, {"fd_pixels": [fd * (1 + tilt * (-1) ** g) for g in range(10)]}
    )


def nothing_known(spec: StudySpec = SPEC) -> Results:
    return Results(spec, {pairing: [] for pairing in spec.pairings}, {})


def keep(results: Results, pairing: PairingSpec | None, task: Task, evaluate: Evaluate) -> None:
    """Evaluate as a worker does: weight 1 of a search is what is shared. Nothing may be evaluated
    twice."""
    if pairing is None:
        assert task not in results.shared
        try:
            results.shared[task] = Evaluation(task, evaluate(task))  # type: ignore[index]
        except RunError as failure:
            results.shared[task] = Evaluation(task, reason=str(failure))  # type: ignore[index]
        return
    found: list[Evaluation] = results.searches[pairing]  # type: ignore[assignment]
    assert task not in [e.task for e in found]
    if task.weight == 1:
        found.append(results.shared[task])
        return
    try:
        found.append(Evaluation(task, evaluate(task)))
    except RunError as failure:
        found.append(Evaluation(task, reason=str(failure)))


Stage = Callable[[Results], Iterator[schedule.Wanted]]


def whole(results: Results) -> Iterator[schedule.Wanted]:
    return schedule.study(results, is_stochastic)


def done_by(
    workers: int, seed: int, results: Results, stage: Stage = whole, evaluate: Evaluate = evaluate
) -> Results:
    """Workers that each take any task that is wanted and that nobody is at work on, and end in any
    order."""
    rng = random.Random(seed)
    at_work: list[schedule.Wanted] = []
    while True:
        free = [wanted for wanted in dict.fromkeys(stage(results)) if wanted not in at_work]
        if free and len(at_work) < workers and (not at_work or rng.random() < 0.6):
            at_work.append(rng.choice(free))
        elif at_work:
            keep(results, *at_work.pop(rng.randrange(len(at_work))), evaluate)
        else:
            return results


def in_order(
    results: Results, stage: Stage = whole, evaluate: Evaluate = evaluate
) -> list[schedule.Wanted]:
    """One worker that always takes the first task; returns what it took."""
    taken: list[schedule.Wanted] = []
    while (wanted := next(stage(results), None)) is not None:
        keep(results, *wanted, evaluate)
        taken.append(wanted)
    return taken


def tasks(results: Results) -> tuple[dict[PairingSpec, list[Task]], set[Task]]:
    """Of each search in order, of what is shared in none."""
    return {p: [e.task for e in found] for p, found in results.searches.items()}, set(
        results.shared
    )
