"""What a study concludes of each pairing: its verdict, corrected for the number of pairings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from study.records.confirmation import Comparison, compare
from study.records.multiplicity import Correction
from study.records.results import Results
from study.records.task import BASE, Task
from study.specs import PairingSpec

Verdict = Literal["improves", "blends", "no gain", "undecided"]


@dataclass(frozen=True)
class Conclusion:
    """The conclusion about a pairing by one metric.

    tested: the tasks that were compared with weight 1: the one that the search prefers, or the
    weights beside 1 if it prefers that. sets: the seed sets that were used; 0: none yet. verdict:
    *improves* (w > 1) or *blends* (w < 1) if the gain is a finding after the correction; *no gain*
    if at every tested weight it is shown to be below 5 % of the damage, each at 5 % (an
    intersection-union test, which needs no correction); otherwise *undecided*. coverage: of the
    interval of recovered, corrected if the gain is a finding.
    """

    pairing: PairingSpec
    tested: tuple[Task, ...]
    comparisons: tuple[Comparison, ...]
    verdict: Verdict
    correction: Correction
    coverage: float

    @property
    def sets(self) -> int:
        return max((each.sets for each in self.comparisons), default=0)

    @property
    def won(self) -> bool:
        """Whether a weight other than 1 is shown to be better than 1."""
        return self.verdict in ("improves", "blends")

    @property
    def comparison(self) -> Comparison | None:
        """That of the tested weight with the larger gain."""
        return max(self.comparisons, key=lambda each: each.gain, default=None)

    @property
    def task(self) -> Task | None:
        """The tested task with the larger gain, of those that were compared, or the first."""
        if not self.comparisons:
            return self.tested[0] if self.tested else None
        gains = [each.gain for each in self.comparisons]
        return self.tested[gains.index(max(gains))]


def conclusions(results: Results, metric: str) -> list[Conclusion]:
    """The conclusions about all pairings of a study, as far as it has come."""
    pairings = results.spec.pairings
    correction = Correction.of(len(pairings))
    compared = [comparisons(results, pairing, metric) for pairing in pairings]
    p = [
        _p(results, pairing, metric, found)
        for pairing, found in zip(pairings, compared, strict=True)
    ]
    findings = correction.findings(p) if pairings else []
    number = sum(findings)
    concluded = []
    for pairing, found, finding in zip(pairings, compared, findings, strict=True):
        tested = tuple(results.tested(pairing, metric))
        concluded.append(
            Conclusion(
                pairing,
                tested,
                tuple(found),
                _verdict(tested, found, finding),
                correction,
                correction.coverage(number) if finding else 0.95,
            )
        )
    return concluded


def comparisons(results: Results, pairing: PairingSpec, metric: str) -> list[Comparison]:
    """The comparison of each tested weight of a pairing; empty while one is not known yet."""
    found = [comparison(results, task, pairing, metric) for task in results.tested(pairing, metric)]
    return [each for each in found if each is not None] if None not in found else []


def comparison(
    results: Results, task: Task, pairing: PairingSpec, metric: str
) -> Comparison | None:
    """The comparison of a task with weight 1; None before the first look's sets are known."""
    looks, level = results.spec.confirm.looks, Correction.of(len(results.spec.pairings)).strictest
    known = [
        results.sets(tasks, metric)
        for tasks in (
            results.confirmed_single(BASE),
            results.confirmed_single(pairing.main),
            results.confirmed(task),
        )
    ]
    n = min(len(sets) for sets in known)
    if n < looks[0]:
        return None
    base, main, guided = (sets.first(n) for sets in known)
    return compare(base, main, guided, looks, level)


def _p(results: Results, pairing: PairingSpec, metric: str, found: Sequence[Comparison]) -> float:
    """The p-value of a gain; 1 if the search found no better weight than 1, or none is compared."""
    best = results.best_task(pairing, metric)
    return found[0].p if found and best is not None and best.weight != 1 else 1.0


def _verdict(tested: Sequence[Task], found: Sequence[Comparison], finding: bool) -> Verdict:
    if finding:
        return "improves" if tested[0].weight > 1 else "blends"
    if found and len(found) == len(tested) and all(each.none for each in found):
        return "no gain"
    return "undecided"
