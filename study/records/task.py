"""What is known of one evaluation: plain records that the search keeps, tracking shows and tables read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from study.records.statistics import BestWeight, best_weight
from study.specs import PairingSpec, StudySpec

BASE = "none"  # the name of the undegraded base


@dataclass(frozen=True)
class Task:
    """One evaluation: a denoiser at a weight, on one seed set. Equal tasks have equal scores.

    main, guide: names of degradations; guide and coupling count only where the weight is not 1. interval: the noise
    levels at which the guide acts, None for all. ends: instead of the guided denoiser, the endpoint probe of the two.
    """

    main: str
    guide: str
    coupling: Literal["independent", "shared"]
    weight: float
    seed: int
    samples: int
    steps: int
    interval: tuple[float, float] | None = None
    ends: bool = False

    @classmethod
    def alone(cls, main: str, seed: int, samples: int, steps: int) -> "Task":
        """A single denoiser: the base (`none`), a main or a guide."""
        return cls(main, BASE, "independent", 1.0, seed, samples, steps)

    @classmethod
    def guided(
        cls, pairing: PairingSpec, weight: float, seed: int, samples: int, steps: int,
        interval: tuple[float, float] | None = None,
    ) -> "Task":  # fmt: skip
        """A pairing at a weight; at weight 1 it is the main alone."""
        if weight == 1:
            return cls.alone(pairing.main, seed, samples, steps)
        return cls(pairing.main, pairing.guide, pairing.coupling, weight, seed, samples, steps, interval)

    @classmethod
    def endpoints(cls, pairing: PairingSpec, seed: int, samples: int, steps: int) -> "Task":
        """The endpoint probe: main and guide sampled alone, and mixed afterwards at every weight."""
        return cls(pairing.main, pairing.guide, pairing.coupling, 0.0, seed, samples, steps, ends=True)

    @property
    def name(self) -> str:
        if self.ends:
            return f"{self.main} → {self.guide}, {self.coupling}, endpoints"
        if self.weight == 1:
            return "base" if self.main == BASE else f"{self.main} alone"
        within = f", σ {self.interval[0]:.3g} to {self.interval[1]:.3g}" if self.interval else ""
        return f"{self.main} → {self.guide}, {self.coupling}, w {self.weight:g}{within}"

    @property
    def cost(self) -> int:
        """Samples × steps × networks, to which its time is about proportional; the endpoints draw the guide's samples,
        and share the main's with its own evaluation."""
        return self.samples * self.steps * (1 if self.weight == 1 or self.ends else 2)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Task":
        """The task of what `as_dict` gave, also after a passage through JSON."""
        interval = kept.get("interval")
        return cls(**{**kept, "interval": tuple(interval) if interval else None})


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found.

    scores: by metric. replicates: each Fréchet distance without every tenth of the samples in turn, for the jackknife.
    curve: of the endpoint probe, each Fréchet distance at every `weight`. evaluations: network evaluations it took.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    replicates: Mapping[str, Sequence[float]] = field(default_factory=dict)
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    evaluations: int = 0


@dataclass(frozen=True)
class Evaluation:
    """A task with its outcome, or the reason why there is none."""

    task: Task
    outcome: Outcome = field(default_factory=Outcome)
    reason: str = ""
    number: int = -1
    started: float = math.nan
    ended: float = math.nan
    owner: str = ""

    @property
    def scores(self) -> Mapping[str, float]:
        return self.outcome.scores

    def replicates(self, metric: str) -> Sequence[float]:
        """The jackknife's replicates of a Fréchet distance; none where there are none."""
        return self.outcome.replicates.get(metric, ())


TESTED_BESIDE = 1.1  # the weight at which "no gain" is tested where the search found none better than 1


@dataclass(frozen=True)
class Results:
    """All evaluations of a study: of each pairing's search, and those shared by all."""

    spec: StudySpec
    searches: Mapping[PairingSpec, Sequence[Evaluation]]
    shared: Mapping[Task, Evaluation]

    @property
    def metrics(self) -> list[str]:
        """The Fréchet distances that are measured; the search minimises the first."""
        return self.spec.metrics

    @property
    def primary(self) -> str:
        """The metric that the search minimises."""
        return self.metrics[0]

    def best(self, pairing: PairingSpec, metric: str) -> BestWeight | None:
        """Where the parabola through a search's scores is least, with its interval; None of fewer than three."""
        found = [e for e in self.searches[pairing] if metric in e.scores]
        if len(found) < 3:
            return None
        return best_weight(
            [e.task.weight for e in found],
            [e.scores[metric] for e in found],
            [e.replicates(metric) for e in found],
        )

    def leader(self, pairing: PairingSpec, metric: str | None = None) -> Task | None:
        """What the search says is best by a metric, as a task on its seed; None where no evaluation succeeded.

        With the method 'probe' the weight of the parabola's least; otherwise what has the least score of those tried.
        """
        metric = metric or self.primary
        found = [e for e in self.searches[pairing] if metric in e.scores]
        if not found:
            return None
        least = min(found, key=lambda e: (e.scores[metric], abs(e.task.weight - 1), e.task.weight)).task
        best = self.best(pairing, metric) if self.spec.search.method == "probe" and least.weight != 1 else None
        return least if best is None else self.searched(pairing, self.spec.search.snap(best.weight))

    def tested(self, pairing: PairingSpec, metric: str | None = None) -> Task | None:
        """What the confirmation compares with weight 1: the leader, or weight 1.1 where that is 1."""
        leader = self.leader(pairing, metric)
        return self.searched(pairing, TESTED_BESIDE) if leader is not None and leader.weight == 1 else leader

    def searched(self, pairing: PairingSpec, weight: float) -> Task:
        """The search's task of a pairing at a weight."""
        spec = self.spec
        return Task.guided(pairing, weight, spec.seed, spec.search.samples, spec.sampler.steps)

    def single(self, name: str) -> Task:
        """A single denoiser on the search's seed; of the base, what the curves are relative to."""
        return Task.alone(name, self.spec.seed, self.spec.search.samples, self.spec.sampler.steps)

    def endpoints(self, pairing: PairingSpec) -> Task:
        """The endpoint probe of a pairing, on the search's seed."""
        return Task.endpoints(pairing, self.spec.seed, self.spec.search.samples, self.spec.sampler.steps)

    def guide(self, pairing: PairingSpec, tested: Task) -> str:
        """The guide of what is confirmed: the pairing's own, unless the search was over guides."""
        return pairing.guide if tested.weight == 1 else tested.guide

    def confirmed(self, task: Task) -> list[Task]:
        """A task of the search on the confirmation's seeds, a seed set each."""
        spec = self.spec
        changed = {"samples": spec.confirm.samples, "steps": spec.sampler.steps}
        return [Task(**{**vars(task), **changed, "seed": seed}) for seed in spec.seeds]

    def alone(self, name: str, double: bool = False) -> list[Task]:
        """The confirmation's tasks of a single denoiser, a seed set each; `double`: the control at twice the steps."""
        spec = self.spec
        steps = spec.sampler.steps * (2 if double else 1)
        return [Task.alone(name, seed, spec.confirm.samples, steps) for seed in spec.seeds]

    def averaged(self, name: str) -> list[Task]:
        """The control that averages two independent draws of a main at every evaluation, as dear as guidance."""
        pairing = PairingSpec(name, name)
        return [Task.guided(pairing, 0.5, t.seed, t.samples, t.steps) for t in self.alone(name)]

    def values(self, tasks: Sequence[Task], metric: str) -> list[float] | None:
        """The scores of tasks, in their order, or None where one is missing."""
        found = [self.shared[task].scores.get(metric) if task in self.shared else None for task in tasks]
        return None if None in found else [value for value in found if value is not None]

    def controls(self) -> list[str]:
        """The single denoisers that are also scored at twice the steps: the base and each main."""
        if not self.spec.confirm.controls:
            return []
        return list(dict.fromkeys([BASE, *(pairing.main for pairing in self.spec.pairings)]))
