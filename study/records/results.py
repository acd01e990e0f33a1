"""The evaluations of a study, and what follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from study.records.confirmation import Sets
from study.records.statistics import BestWeight, Estimate, best_weight, difference
from study.records.task import BASE, Evaluation, Task
from study.specs import PairingSpec, StudySpec


@dataclass(frozen=True)
class Results:
    """All evaluations of a study: those of each pairing's search, and those shared by pairings.

    floors: for each metric, what FD cannot fall below with the confirmation's number of samples;
    forecasts: the versions of the study's file of forecasts, as they were seen. reference: the
    digest of what samples are compared with.
    """

    spec: StudySpec
    searches: Mapping[PairingSpec, Sequence[Evaluation]]
    shared: Mapping[Task, Evaluation]
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    forecasts: Sequence[Mapping[str, Any]] = ()
    reference: str = ""

    @property
    def metrics(self) -> list[str]:
        """The Fréchet distances that are measured; the search minimises the first."""
        return self.spec.metrics

    @property
    def primary(self) -> str:
        """The metric that the search minimises."""
        return self.metrics[0]

    def best(self, pairing: PairingSpec, metric: str) -> BestWeight | None:
        """The minimum of the parabola through a search's scores; None of fewer than three."""
        found = [e for e in self.searches[pairing] if metric in e.scores]
        if len(found) < 3:
            return None
        return best_weight(
            [e.task.weight for e in found],
            [e.scores[metric] for e in found],
            [e.replicates(metric) for e in found],
        )

    def incumbent(self, pairing: PairingSpec) -> Evaluation | None:
        """The best evaluation of a search so far by the primary metric, of those not pruned."""
        whole = [
            e for e in self.searches[pairing] if self.primary in e.scores and not e.outcome.pruned
        ]
        return min(whole, key=lambda e: e.scores[self.primary], default=None)

    def best_task(self, pairing: PairingSpec, metric: str | None = None) -> Task | None:
        """The best task of a search by a metric, on its seed; None if no evaluation succeeded.

        The first of these whose score is not above the lowest one at 95 %: the primary metric's
        best task, so that metrics share it unless they differ; with the method 'probe' the one at
        the minimum of the parabola; the task with the lowest score. One that was pruned is never
        the best.
        """
        metric = metric or self.primary
        found = [e for e in self.searches[pairing] if metric in e.scores]
        if all(e.outcome.pruned for e in found):
            return None
        whole = [e for e in found if not e.outcome.pruned]
        least = min(whole, key=lambda e: (e.scores[metric], abs(e.task.weight - 1), e.task.weight))
        tried = {e.task: e for e in found}
        if metric != self.primary and least.replicates(metric):
            shared = self.best_task(pairing)
            if shared in tried and not _above(tried[shared], least, metric):
                return shared
        if self.spec.search.method != "probe" or least.task.weight == 1:
            return least.task
        best = self.best(pairing, metric)
        if best is None:
            return least.task
        vertex = self.searched(pairing, self.spec.search.snap(best.weight))
        at_vertex = tried.get(vertex, least)
        worse = at_vertex.outcome.pruned or _above(at_vertex, least, metric)
        return least.task if worse else vertex

    def tested(self, pairing: PairingSpec, metric: str | None = None) -> list[Task]:
        """The tasks that are compared with weight 1: the best, or those beside 1 if that has 1."""
        best = self.best_task(pairing, metric)
        if best is None:
            return []
        if best.weight != 1:
            return [best]
        return [self.searched(pairing, weight) for weight in self.beside]

    @property
    def beside(self) -> list[float]:
        """The weights above and below 1 at which slope and "no gain" are measured."""
        return self.spec.search.beside

    def slope(self, pairing: PairingSpec, metric: str | None = None) -> Estimate | None:
        """dFD/dw at w = 1 of a search, its seeds shared: (FD(1.1) − FD(0.9))/0.2.

        Its interval is a jackknife's. None if one of the two was not evaluated.
        """
        metric = metric or self.primary
        by_weight = {e.task.weight: e for e in self.searches[pairing] if metric in e.scores}
        tried = [by_weight[weight] for weight in self.beside if weight in by_weight]
        if len(tried) < 2:
            return None
        above, below = tried
        width = above.task.weight - below.task.weight
        gap = difference(
            above.scores[metric],
            below.scores[metric],
            above.replicates(metric),
            below.replicates(metric),
        )
        return Estimate(gap.mean / width, gap.low / width, gap.high / width)

    def searched(self, pairing: PairingSpec, weight: float) -> Task:
        """The search's task of a pairing at a weight."""
        spec = self.spec
        return Task.guided(pairing, weight, spec.seed, spec.search.samples, spec.sampler.steps)

    def single(self, name: str) -> Task:
        """A single denoiser on the search's seed; curves are relative to that of the base."""
        return Task.single(name, self.spec.seed, self.spec.search.samples, self.spec.sampler.steps)

    def endpoints(self, pairing: PairingSpec) -> Task:
        """The endpoint probe of a pairing, on the search's seed."""
        return Task.endpoints(
            pairing, self.spec.seed, self.spec.search.samples, self.spec.sampler.steps
        )

    def guide(self, pairing: PairingSpec, tested: Task) -> str:
        """The guide of the tested task: the pairing's own, unless the search was over guides."""
        return pairing.guide if tested.weight == 1 else tested.guide

    def confirmed(self, task: Task) -> list[Task]:
        """A task of the search on the confirmation's seeds, one task per seed set."""
        spec = self.spec
        changed = {"samples": spec.confirm.samples, "steps": spec.sampler.steps}
        return [Task(**{**vars(task), **changed, "seed": seed}) for seed in spec.seeds]

    def confirmed_single(self, name: str, double: bool = False) -> list[Task]:
        """The confirmation's tasks of a denoiser, one per seed set; double: at twice the steps."""
        spec = self.spec
        steps = spec.sampler.steps * (2 if double else 1)
        return [Task.single(name, seed, spec.confirm.samples, steps) for seed in spec.seeds]

    def averaged(self, name: str) -> list[Task]:
        """The control that averages two independent draws of a main, at the cost of guidance."""
        pairing = PairingSpec(name, name)
        return [
            Task.guided(pairing, 0.5, t.seed, t.samples, t.steps)
            for t in self.confirmed_single(name)
        ]

    def values(self, tasks: Sequence[Task], metric: str) -> list[float] | None:
        """The scores of tasks, in their order, or None if any is missing."""
        found = [
            self.shared[task].scores.get(metric) if task in self.shared else None for task in tasks
        ]
        return None if None in found else [value for value in found if value is not None]

    def sets(self, tasks: Sequence[Task], metric: str, by_reference: bool = False) -> Sets:
        """The scores of tasks, one per seed set, up to the first that is missing.

        by_reference: with replicates without each tenth of the reference, not of the samples.
        """
        known = (self.shared.get(task) for task in tasks)
        found = list(takewhile(lambda e: e is not None and metric in e.scores, known))
        scored = [e for e in found if e is not None]
        left_out = [
            e.outcome.by_reference.get(metric, ()) if by_reference else e.replicates(metric)
            for e in scored
        ]
        return Sets.of([e.scores[metric] for e in scored], left_out)

    def controls(self) -> list[str]:
        """The single denoisers that are also scored at twice the steps: the base and each main."""
        if not self.spec.confirm.controls:
            return []
        return list(dict.fromkeys([BASE, *(pairing.main for pairing in self.spec.pairings)]))


def _above(one: Evaluation, other: Evaluation, metric: str) -> bool:
    """Whether a score is above another at 95 %, by the jackknife of their difference."""
    gap = difference(
        one.scores[metric], other.scores[metric], one.replicates(metric), other.replicates(metric)
    )
    return gap.low > 0
