"""The best rescaling of a main alone, by one number: what guidance adds beyond a temperature.

Tried are a factor of the score, of the noise level that the main is told, and, with churn, of the
fresh noise (S_noise). Their strength is tuned on the search's seed, as the weight is.
"""

from dataclasses import replace

from degradations.named import shortest
from study.records.results import Results
from study.records.statistics import best_weight
from study.records.task import BASE, Task
from study.specs import StudySpec

CHURN = "S_noise"
FIRST = 0.05  # the first strength, to both sides of 0
FARTHEST = 0.8
NEAR = 0.005  # a strength so near to one that was tried is not tried
USUAL = 4  # trials of a kind in most cases
TRIALS = 7  # of a kind, at most: two sides, four doublings, and the minimum of the parabola


def kinds(spec: StudySpec) -> list[str]:
    """The kinds of rescaling that are tried: two degradations, and S_noise if there is churn."""
    churned = spec.sampler.churn > 0 and spec.sampler.churn_noise > 0
    return ["score", "sigma", *([CHURN] if churned else [])]


def rescaled(results: Results, main: str, kind: str, strength: float) -> Task:
    """A main alone rescaled by a factor 1 + strength, on the search's seed."""
    alone = results.single(main)
    if strength == 0:
        return alone
    if kind == CHURN:
        factor = 1 + strength
        return replace(alone, churn_noise=factor * results.spec.sampler.churn_noise)
    name = f"{kind}({shortest(strength)})"
    return replace(alone, main=name if main == BASE else f"{main}+{name}")


def propose(results: Results, main: str) -> Task | None:
    """The next evaluation of the tuning of a main's rescaling; None if it has ended."""
    if (alone := results.single(main)) not in results.shared:
        return alone
    tried = (_replay(results, main, kind)[1] for kind in kinds(results.spec))
    return next((task for task in tried if task), None)


def remaining(results: Results, main: str) -> int:
    """Trials that the tuning of a main's rescaling usually still makes; 0 if it has ended."""
    if propose(results, main) is None:
        return 0
    found = kinds(results.spec)
    tried = sum(len(_replay(results, main, kind)[0]) - 1 for kind in found)
    return max(len(found) * USUAL - max(tried, 0), 1)


def best(results: Results, main: str, metric: str) -> Task | None:
    """The best rescaling of a main by a metric, on the search's seed; it may be the main itself.

    None while its tuning goes on, or if nothing could be scored.
    """
    if propose(results, main) is not None:
        return None
    tried = [
        (scores[metric], abs(strength), task)
        for kind in kinds(results.spec)
        for strength in _replay(results, main, kind)[0]
        if metric in (scores := _scores(results, task := rescaled(results, main, kind, strength)))
    ]
    return min(tried, key=lambda each: each[:2])[2] if tried else None


def _replay(results: Results, main: str, kind: str) -> tuple[dict[float, float], Task | None]:
    """FD by strength, as far as the tuning of a kind has come, and its next evaluation."""
    alone = _scores(results, results.single(main)).get(results.primary)
    if alone is None:
        return {}, None
    seen = {0.0: alone}
    while len(seen) <= TRIALS and (strength := _next(seen)) is not None:
        task = rescaled(results, main, kind, strength)
        if task not in results.shared:
            return seen, task
        seen[strength] = _scores(results, task).get(results.primary, float("inf"))
    return seen, None


def _next(seen: dict[float, float]) -> float | None:
    """The next strength: outwards, in doubling steps, on the side on which FD falls.

    Then the minimum of a parabola through log FD, until that is known.
    """
    for side in (1, -1):
        ends = [side * strength for strength in seen if side * strength > 0]
        farthest = max(ends, default=0.0)
        outwards = round(2 * farthest or FIRST, 9)
        if not ends or (seen[side * farthest] == min(seen.values()) and outwards <= FARTHEST):
            return side * outwards
    scored = {1 + strength: fd for strength, fd in seen.items() if fd < float("inf")}
    vertex = best_weight(list(scored), list(scored.values()), [[] for _ in scored]).weight
    strength = round(float(vertex) - 1, 3)
    return None if any(abs(strength - each) < NEAR for each in seen) else strength


def _scores(results: Results, task: Task) -> dict[str, float]:
    return dict(results.shared[task].scores) if task in results.shared else {}
