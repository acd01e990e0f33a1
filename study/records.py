"""What is known of one evaluation: plain records that the search keeps, tracking shows and tables read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from study.specs import PairingSpec, StudySpec


@dataclass(frozen=True)
class Task:
    """One evaluation: a denoiser at a weight, on one seed set. Equal tasks have equal scores.

    main, guide: names of degradations; guide and coupling count only where the weight is not 1.
    """

    main: str
    guide: str
    coupling: Literal["independent", "shared"]
    weight: float
    seed: int
    samples: int
    steps: int

    @classmethod
    def alone(cls, main: str, seed: int, samples: int, steps: int) -> "Task":
        """A single denoiser: the base (`none`), a main or a guide."""
        return cls(main, "none", "independent", 1.0, seed, samples, steps)

    @classmethod
    def guided(cls, pairing: PairingSpec, weight: float, seed: int, samples: int, steps: int) -> "Task":
        """A pairing at a weight; at weight 1 it is the main alone."""
        if weight == 1:
            return cls.alone(pairing.main, seed, samples, steps)
        return cls(pairing.main, pairing.guide, pairing.coupling, weight, seed, samples, steps)

    @property
    def name(self) -> str:
        if self.weight == 1:
            return "base" if self.main == "none" else f"{self.main} alone"
        return f"{self.main} → {self.guide}, {self.coupling}, w {self.weight:g}"

    @property
    def cost(self) -> int:
        """Samples × steps × networks, to which its time is about proportional."""
        return self.samples * self.steps * (1 if self.weight == 1 else 2)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """A task with its outcome: scores by metric, or the reason why there are none."""

    task: Task
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    number: int = -1
    started: float = math.nan
    ended: float = math.nan
    owner: str = ""


TESTED_BESIDE = 1.1  # the weight at which "no gain" is tested where the search found none better than 1


@dataclass(frozen=True)
class Results:
    """All evaluations of a study: of each pairing's search, and those shared by all."""

    spec: StudySpec
    searches: Mapping[PairingSpec, Sequence[Evaluation]]
    shared: Sequence[Evaluation]

    @property
    def primary(self) -> str:
        """The metric that the search minimises."""
        return f"fd_{self.spec.extractors[0]}"

    def leader(self, pairing: PairingSpec) -> float | None:
        """The weight with the least primary metric on the search's seed, or None where no evaluation succeeded."""
        found = [
            (e.scores[self.primary], abs(e.task.weight - 1), e.task.weight) for e in self.searches[pairing] if e.scores
        ]
        return min(found)[2] if found else None

    def tested(self, pairing: PairingSpec) -> float | None:
        """The weight that the confirmation compares with weight 1: the leader, or 1.1 where that is 1."""
        leader = self.leader(pairing)
        return TESTED_BESIDE if leader == 1 else leader

    def values(self, tasks: Sequence[Task], metric: str) -> list[float] | None:
        """The scores of tasks, in their order, or None where one is missing."""
        known = {evaluation.task: evaluation.scores for evaluation in self.shared}
        found = [known.get(task, {}).get(metric) for task in tasks]
        return None if None in found else [value for value in found if value is not None]

    def alone(self, name: str, double: bool = False) -> list[Task]:
        """The confirmation's tasks of a single denoiser, a seed set each; `double`: the control at twice the steps."""
        spec = self.spec
        steps = spec.sampler.steps * (2 if double else 1)
        return [Task.alone(name, seed, spec.confirm.samples, steps) for seed in spec.seeds]

    def guided(self, pairing: PairingSpec, weight: float) -> list[Task]:
        """The confirmation's tasks of a pairing at a weight, a seed set each."""
        spec = self.spec
        return [Task.guided(pairing, weight, seed, spec.confirm.samples, spec.sampler.steps) for seed in spec.seeds]

    def searched_base(self) -> Task:
        """The base on the search's seed, to which the curves are relative."""
        return Task.alone("none", self.spec.seed, self.spec.search.samples, self.spec.sampler.steps)

    def controls(self) -> list[str]:
        """The single denoisers that are also scored at twice the steps: the base and each main."""
        if not self.spec.confirm.controls:
            return []
        return list(dict.fromkeys(["none", *(pairing.main for pairing in self.spec.pairings)]))
