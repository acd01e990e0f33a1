"""The next evaluations of a study, as a function of those that are known.

So a study that is interrupted and resumed anywhere, by any number of processes, gives the same
result.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from degradations import kinds
from study.engine.calibrate import calibrate, named
from study.records import damage, rescaling
from study.records.conclusions import comparisons
from study.records.results import Results
from study.records.task import BASE, Task, kind_of
from study.sampling import nfe
from study.search import propose
from study.specs import PairingSpec, StudySpec

Wanted = tuple[PairingSpec | None, Task]  # a trial of a pairing's search, or one that is shared


@dataclass
class Confirming:
    """The confirmation of a pairing: the tasks wanted so far, and whether no more will be."""

    tasks: list[Task]
    done: bool = False


Ended = dict[PairingSpec, Confirming]  # searches that have ended, with what confirms them


def expand(results: Results) -> StudySpec | None:
    """The study with the pairings of its matrix, every main at level 1 with every guide at level 2.

    Kinds that do not reach a level are left out. None until every kind is calibrated; without a
    matrix, the study itself.
    """
    spec = results.spec
    if spec.matrix is None:
        return spec
    if any(task not in results.shared for task in _measured(results, BASE)):
        return None
    found = [calibrate(results, kind) for kind in spec.calibrate.kinds]
    if any(each.next is not None for each in found):
        return None
    able = [each for each in found if each.found]
    mains = [*([BASE] if spec.matrix.clean else []), *(each.name(0) for each in able)]
    pairings = (
        PairingSpec(main, each.name(1), spec.matrix.coupling) for main in mains for each in able
    )
    return replace(spec, pairings=tuple(dict.fromkeys([*spec.pairings, *pairings])))


def calibration(results: Results) -> Iterator[Wanted]:
    """The next evaluation of every kind's calibration."""
    names = [BASE]
    if all(task in results.shared for task in _measured(results, BASE)):
        found = [calibrate(results, kind) for kind in results.spec.calibrate.kinds]
        names = [named(each.kind, each.next) for each in found if each.next is not None]
    for name in names:
        wanted = (task for task in _measured(results, name) if task not in results.shared)
        yield from ((None, task) for task in wanted)


def _measured(results: Results, name: str) -> list[Task]:
    """What the damage of a denoiser needs; of the base also the search's own evaluation."""
    own = [results.single(BASE)] if name == BASE else []
    return list(dict.fromkeys([*own, *damage.tasks(results, name)]))


def endpoints(results: Results) -> Iterator[Wanted]:
    """The endpoint probes, and the base on the same seed."""
    wanted = [
        results.single(BASE),
        *(results.endpoints(pairing) for pairing in results.spec.pairings),
    ]
    yield from ((None, task) for task in wanted if task not in results.shared)


def study(
    results: Results, is_stochastic: Callable[[str], bool], ended: Ended | None = None
) -> Iterator[Wanted]:
    """The evaluations that a study with its pairings needs and that can be made now, in order.

    ended: the searches known to have ended; newly ended ones are added, so that they are found only
    once.
    """
    ended = {} if ended is None else ended
    if results.single(BASE) not in results.shared:
        yield None, results.single(BASE)
    yield from searches(results, ended)
    tasks = (
        task for task in confirmation(results, ended, is_stochastic) if task not in results.shared
    )
    yield from ((None, task) for task in tasks)


def searches(results: Results, ended: Ended | None = None) -> Iterator[Wanted]:
    """The next evaluation of every pairing's search; ended ones are added to `ended`."""
    for pairing in results.spec.pairings:
        if ended is not None and pairing in ended:
            continue
        wanted = _search(results, pairing)
        if wanted is not None:
            yield wanted
        elif ended is not None:
            ended[pairing] = Confirming(_confirming(results, pairing))


def _confirming(results: Results, pairing: PairingSpec) -> list[Task]:
    """The tasks that confirm a pairing by each metric, on as many seed sets as are wanted now.

    These are the tested ones, base, main and guide alone. The primary metric decides how many.
    """
    found: dict[Task, None] = {}
    n = _sets_wanted(results, pairing)
    for metric in results.metrics:
        for task in results.tested(pairing, metric):
            names = BASE, pairing.main, results.guide(pairing, task)
            found |= dict.fromkeys(results.confirmed(task)[:n])
            for name in names:
                found |= dict.fromkeys(results.confirmed_single(name)[:n])
    return list(found)


def _sets_wanted(results: Results, pairing: PairingSpec) -> int:
    """The seed sets up to the next look at which the confirmation may stop, or where it did."""
    looks, compared = results.spec.confirm.looks, comparisons(results, pairing, results.primary)
    later = [
        each.sets if each.ended else next(n for n in looks if n > each.sets) for each in compared
    ]
    return max(later, default=looks[0])


def _search(results: Results, pairing: PairingSpec) -> Wanted | None:
    if results.spec.search.method == "probe" and results.endpoints(pairing) not in results.shared:
        return None, results.endpoints(pairing)
    task = propose(results, pairing, _screened(results.spec, pairing))
    if task is not None and task.weight == 1 and task not in results.shared:
        return None, task
    return None if task is None else (pairing, task)


def _screened(spec: StudySpec, pairing: PairingSpec) -> bool:
    """Whether a pairing predicted not to gain may be skipped: not if both its kinds are tested."""
    tested = spec.matrix.tested if spec.matrix else ()
    return spec.search.screen and not all(
        kind_of(name) in tested for name in (pairing.main, pairing.guide)
    )


def confirmation(
    results: Results, ended: Ended, is_stochastic: Callable[[str], bool]
) -> Iterator[Task]:
    """The confirmation's tasks: single denoisers, the tested tasks of `ended` pairings, controls.

    A pairing is confirmed on more seed sets until its verdicts are decided; its controls are scored
    on as many. Each tuning of a control is a chain, so its next trial comes first.
    """
    first = results.spec.confirm.looks[0]
    sets = dict.fromkeys(results.controls(), first)
    mains = [name for name in sets if any(name == each.main for each in results.spec.pairings)]
    trials = [rescaling.propose(results, name) for name in mains]
    found: dict[Task, None] = dict.fromkeys(task for task in trials if task is not None)
    found |= dict.fromkeys(results.confirmed_single(BASE)[:first])
    for pairing in results.spec.pairings:
        for name in (pairing.main, pairing.guide):
            found |= dict.fromkeys(results.confirmed_single(name)[:first])
    for pairing in results.spec.pairings:
        state = ended.get(pairing)
        if state is None:
            continue
        while not state.done and all(task in results.shared for task in state.tasks):
            wanted = _confirming(results, pairing)
            state.done, state.tasks = wanted == state.tasks, wanted
        found |= dict.fromkeys(state.tasks)
        most = len({task.seed for task in state.tasks})
        sets |= {name: max(sets[name], most) for name in (BASE, pairing.main) if name in sets}
    for name, n in sets.items():
        found |= dict.fromkeys(results.confirmed_single(name, double=True)[:n])
        if is_stochastic(name):
            found |= dict.fromkeys(results.averaged(name)[:n])
    for name in mains:
        best = [rescaling.best(results, name, metric) for metric in results.metrics]
        for each in filter(None, best):
            found |= dict.fromkeys(results.confirmed(each)[: sets[name]])
    return iter(found)


def left(results: Results, is_stochastic: Callable[[str], bool], ended: Ended) -> int:
    """The remaining cost of a study in units of `Task.cost`; that of the searches is an estimate.

    A search is assumed to make the usual number of evaluations of its method, and to find a
    different best weight for each metric.
    """
    spec = results.spec
    singles = [
        results.single(name) for name in dict.fromkeys([BASE, *(p.main for p in spec.pairings)])
    ]
    probes = (
        [results.endpoints(p) for p in spec.pairings if p not in ended]
        if spec.search.method == "probe"
        else []
    )
    certain = dict.fromkeys([*singles, *probes, *confirmation(results, ended, is_stochastic)])
    found = sum(task.cost for task in certain if task not in results.shared)
    for pairing in spec.pairings:
        if pairing not in ended:
            guided = results.searched(pairing, 0.0)  # any weight other than 1
            tried = sum(e.task.weight != 1 for e in results.searches[pairing])
            found += guided.cost * _remaining(spec, tried)
            confirmed = results.confirmed(guided)[: spec.confirm.looks[0]]
            found += sum(task.cost for task in confirmed) * len(results.metrics)
    for name in {pairing.main for pairing in spec.pairings} if results.controls() else ():
        # the first trial, or the confirmation of the best, is among those above
        trials = max(rescaling.remaining(results, name) - 1, 0)
        found += trials * results.single(name).cost
    return found


def _remaining(spec: StudySpec, tried: int) -> int:
    """Guided evaluations that a search usually still needs; with an endpoint probe, four in all."""
    search = spec.search
    if search.method == "grid":
        return sum(weight != 1 for weight in search.weights) - tried
    affordable = (
        search.trials if search.budget is None else search.budget // (2 * nfe(spec.sampler)) - 1
    )
    most = min(search.trials - 1, affordable) - tried
    return min(max(4 - tried, 1), most) if search.method == "probe" else most


class Count(NamedTuple):
    """Evaluations of a study, their samples, and passes, the samples times the networks of each."""

    evaluations: int
    samples: int
    passes: int


def count(spec: StudySpec, at_most: bool = False) -> Count:
    """The approximate size of a study of which nothing is evaluated yet, if no search ends early.

    at_most: assume a different best weight for every metric, stochastic denoisers only, and for a
    matrix that every kind needs all trials of the calibration and reaches both levels.
    """
    calibrated = 0
    if spec.matrix is not None:
        names = spec.calibrate.kinds or tuple(kinds())
        calibrated = len(names) * spec.calibrate.trials * spec.calibrate.seed_sets
        ends = [*([BASE] if spec.matrix.clean else []), *(f"{name} as main" for name in names)]
        grid = (PairingSpec(main, f"{name} as guide") for main in ends for name in names)
        spec = replace(spec, pairings=(*spec.pairings, *grid), matrix=None)
    mains = {pairing.main for pairing in spec.pairings}
    singles = len({BASE, *mains, *(pairing.guide for pairing in spec.pairings)})
    trials = len(spec.search.weights) if spec.search.method == "grid" else spec.search.trials
    searched = (trials - 1) * len(spec.pairings)
    metrics = len(spec.metrics) if at_most else 1
    confirmed = len(spec.pairings) * metrics
    # twice the steps; two draws of one
    controls = len({BASE, *mains}) * (1 + at_most) if spec.confirm.controls else 0
    rescaled = len(mains) if spec.confirm.controls else 0
    tuned = (
        rescaled * len(rescaling.kinds(spec)) * (rescaling.TRIALS if at_most else rescaling.USUAL)
    )
    sets, search, confirm = spec.confirm.seed_sets, spec.search.samples, spec.confirm.samples
    once, alone = singles + calibrated + tuned, singles + rescaled * metrics
    return Count(
        once + searched + sets * (alone + confirmed + controls),
        search * (once + searched) + confirm * sets * (alone + confirmed + controls),
        search * (once + 2 * searched) + confirm * sets * (alone + 2 * confirmed + 2 * controls),
    )
