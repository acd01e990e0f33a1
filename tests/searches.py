"""Searches on curves that are known."""

import dataclasses
import math
from collections.abc import Callable

from study.records.results import Results
from study.records.task import Evaluation, Outcome, Task
from study.search import propose
from study.specs import PairingSpec, SamplerSpec, SearchSpec, StudySpec

PAIRING = PairingSpec("noise(0.2)", "noise(0.4)", "shared")
TASK = Task.single("none", 0, 100, 8)
LONG = SearchSpec(trials=30)
Curve = Callable[[float], float | None]


def valley(best: float, spread: float = 0.02) -> Callable[[float], Outcome]:
    """log FD = (w − best)², whose ten replicates have their least at best ± spread."""
    vertices = [best, *(best + spread * (-1) ** group for group in range(10))]

    def outcome(weight: float) -> Outcome:
        fd, *replicates = (math.exp((weight - vertex) ** 2) for vertex in vertices)
        return Outcome({"fd_pixels": fd}, {"fd_pixels": replicates})

    return outcome


def begun(
    spec: SearchSpec, endpoint: float | None = None, pairing: PairingSpec = PAIRING
) -> Results:
    """A study of which only the endpoint probe is known; None: it failed."""
    sampler = SamplerSpec(solver="euler", steps=10)
    study = StudySpec("x", base="digits", sampler=sampler, search=spec, pairings=(pairing,))
    results = Results(study, {pairing: []}, {})
    probe = results.endpoints(pairing)
    scores = {} if endpoint is None else {"endpoint_weight_fd_pixels": endpoint}
    return dataclasses.replace(results, shared={probe: Evaluation(probe, Outcome(scores))})


def searched(
    spec: SearchSpec,
    outcome: Callable[[float], Outcome],
    endpoint: float | None = None,
    screen: bool = True,
    pairing: PairingSpec = PAIRING,
) -> Results:
    """A search that went on until it ended of itself."""
    results = begun(spec, endpoint, pairing)
    found: list[Evaluation] = results.searches[pairing]  # type: ignore[assignment]
    while (task := propose(results, pairing, screen)) is not None:
        assert task not in [e.task for e in found]  # nothing is evaluated twice
        found.append(Evaluation(task, outcome(task.weight)))
    return results


def weights(results: Results, pairing: PairingSpec = PAIRING) -> list[float]:
    return [e.task.weight for e in results.searches[pairing]]


def best_of(results: Results) -> float:
    task = results.best_task(PAIRING)
    assert task is not None
    return task.weight


def failing(outcome: Callable[[float], Outcome], *where: float) -> Callable[[float], Outcome]:
    return lambda weight: Outcome() if weight in where else outcome(weight)
