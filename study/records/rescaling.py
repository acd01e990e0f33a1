"""The best rescaling of a main alone, by one number: what guidance adds beyond a temperature.

Two kinds are tried: the score scaled, and the noise level told otherwise. Their strength is tuned
on the search's seed, as the weight is.
"""

from degradations.named import shortest
from study.records.results import Results
from study.records.statistics import best_weight
from study.records.task import BASE, Task

KINDS = "score", "sigma"
FIRST = 0.05  # the first strength, to both sides of 0
FARTHEST = 0.8
USUAL = 4  # trials of a kind in most cases
TRIALS = 7  # of a kind, at most: two sides, four doublings, and the minimum of the parabola


def rescaled(main: str, kind: str, strength: float) -> str:
    """The name of a main rescaled by a kind; at strength 0 the main itself."""
    if strength == 0:
        return main
    name = f"{kind}({shortest(strength)})"
    return name if main == BASE else f"{main}+{name}"


def propose(results: Results, main: str) -> Task | None:
    """The next evaluation of the tuning of a main's rescaling; None if it has ended."""
    if (alone := results.single(main)) not in results.shared:
        return alone
    return next((task for kind in KINDS if (task := _replay(results, main, kind)[1])), None)


def remaining(results: Results, main: str) -> int:
    """Trials that the tuning of a main's rescaling usually still makes; 0 if it has ended."""
    if propose(results, main) is None:
        return 0
    tried = sum(len(_replay(results, main, kind)[0]) - 1 for kind in KINDS)
    return max(len(KINDS) * USUAL - max(tried, 0), 1)


def best(results: Results, main: str, metric: str) -> str | None:
    """The name of the best rescaling of a main by a metric, which may be the main itself.

    None while its tuning goes on, or if nothing could be scored.
    """
    if propose(results, main) is not None:
        return None
    tried = [
        (scores[metric], abs(strength), rescaled(main, kind, strength))
        for kind in KINDS
        for strength in _replay(results, main, kind)[0]
        if metric in (scores := _scores(results, rescaled(main, kind, strength)))
    ]
    return min(tried, default=(0.0, 0.0, None))[2]


def _replay(results: Results, main: str, kind: str) -> tuple[dict[float, float], Task | None]:
    """FD by strength, as far as the tuning of a kind has come, and its next evaluation."""
    alone = _scores(results, main).get(results.primary)
    if alone is None:
        return {}, None
    seen = {0.0: alone}
    while len(seen) <= TRIALS and (strength := _next(seen)) is not None:
        task = results.single(rescaled(main, kind, strength))
        if task not in results.shared:
            return seen, task
        seen[strength] = results.shared[task].scores.get(results.primary, float("inf"))
    return seen, None


def _next(seen: dict[float, float]) -> float | None:
    """The next strength: outwards, in doubling steps, on the side on which FD falls.

    Then the minimum of a parabola through log FD.
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
    return None if strength in seen else strength


def _scores(results: Results, name: str) -> dict[str, float]:
    evaluation = results.shared.get(results.single(name))
    return {} if evaluation is None else dict(evaluation.scores)
