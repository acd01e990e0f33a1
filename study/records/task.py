"""Records of single evaluations, used by the search, by tracking and by tables."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from degradations.errors import InputError
from degradations.named import shortest
from study.specs import CONSTANT, PairingSpec

BASE = "none"  # the name of the undegraded base


@dataclass(frozen=True)
class Task:
    """One evaluation: a denoiser at a weight, on one seed set. Equal tasks have equal scores.

    main, guide, rule: by name; guide, coupling and rule matter only if the weight is not 1.
    endpoint_probe: the endpoint probe of main and guide instead of the guided denoiser. mean_error:
    the mean error of the main along the base's trajectories instead of samples. churn_noise:
    S_noise, if it is not the sampler's.
    """

    main: str
    guide: str
    coupling: Literal["independent", "shared"]
    weight: float
    seed: int
    samples: int
    steps: int
    rule: str = CONSTANT
    endpoint_probe: bool = False
    mean_error: bool = False
    churn_noise: float | None = None

    @classmethod
    def single(cls, main: str, seed: int, samples: int, steps: int) -> "Task":
        """A single denoiser: the base (`none`), a main or a guide."""
        return cls(main, BASE, "independent", 1.0, seed, samples, steps)

    @classmethod
    def guided(
        cls, pairing: PairingSpec, weight: float, seed: int, samples: int, steps: int
    ) -> "Task":
        """A pairing at a weight; at weight 1 it is the main alone."""
        if weight == 1:
            return cls.single(pairing.main, seed, samples, steps)
        pair = pairing.main, pairing.guide, pairing.coupling
        return cls(*pair, weight, seed, samples, steps, pairing.rule)

    @classmethod
    def endpoints(cls, pairing: PairingSpec, seed: int, samples: int, steps: int) -> "Task":
        """The endpoint probe: main and guide sampled alone, then mixed at every weight."""
        return cls(
            pairing.main,
            pairing.guide,
            pairing.coupling,
            0.0,
            seed,
            samples,
            steps,
            endpoint_probe=True,
        )

    @property
    def name(self) -> str:
        if self.endpoint_probe:
            return f"{self.main} → {self.guide}, {self.coupling}, endpoints"
        if self.mean_error:
            return f"{self.main}, error along trajectories"
        if self.weight == 1:
            alone = "base" if self.main == BASE else f"{self.main} alone"
            return alone if self.churn_noise is None else f"{alone}, S_noise {self.churn_noise:g}"
        if self.main == self.guide:
            return f"{self.main}, mean of two draws"
        rule = "" if self.rule == CONSTANT else f", {rounded(self.rule)}"
        return f"{self.main} → {self.guide}, {self.coupling}, w {self.weight:g}{rule}"

    @property
    def cost(self) -> int:
        """Samples × steps × networks, approximately proportional to the time.

        The endpoint probe samples only the guide; the main's samples come from its own evaluation.
        """
        guides = 0 if self.weight == 1 else 1 + self.guide.count("&")
        mains = 0 if self.endpoint_probe else 1 + self.main.count("&")
        return self.samples * self.steps * (mains + guides)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Task":
        """The task of a dictionary from `as_dict`, which may have been stored as JSON."""
        values = dict(kept)
        # from versions in which rules had no names, and in which endpoint probes were called ends
        within, endpoints = values.pop("interval", None), values.pop("ends", None)
        values |= {} if within is None else {"rule": interval(*within)}
        values |= {} if endpoints is None else {"endpoint_probe": endpoints}
        return cls(**_known(cls, values))


def _known(type_: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values, if all are fields of a type. Raises InputError for those of a later version."""
    unknown = sorted(values.keys() - {field.name for field in fields(type_)})
    if unknown:
        raise InputError(
            f"a stored {type_.__name__.lower()} has {', '.join(unknown)[:80]}, which this version "
            "does not know; use the version of this project that wrote it, or a later one."
        )
    return values


def interval(low: float, high: float) -> str:
    """The name of the rule that guides at noise levels from low to high."""
    return f"interval({shortest(low)}, {shortest(high)})"


def kind_of(name: str) -> str:
    """The kind of a degradation's name, with its options; of several in a row, the name itself."""
    match = re.fullmatch(r"([\w-]+)\([^,()]*(?:,\s*([^()]*))?\)", name)
    if match is None:
        return name
    return f"{match[1]}({match[2]})" if match[2] else match[1]


def rounded(name: str) -> str:
    """A name for display: its numbers to three significant digits."""
    return re.sub(r"\d+\.\d+(e[-+]?\d+)?", lambda number: f"{float(number[0]):.3g}", name)


@dataclass(frozen=True)
class Outcome:
    """The result of an evaluation.

    scores: by metric. replicates: each Fréchet distance without every tenth of the samples in turn,
    for the jackknife. by_reference: each without every tenth of the reference, if asked for. curve:
    of the endpoint probe, each Fréchet distance at every `weight`. early: of a search's evaluation,
    each distance at each look on the way, followed by its replicates. pruned: whether it ended at
    such a look; scores and replicates are then estimates.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    replicates: Mapping[str, Sequence[float]] = field(default_factory=dict)
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    network_evaluations: int = 0
    by_reference: Mapping[str, Sequence[float]] = field(default_factory=dict)
    early: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    pruned: bool = False

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Outcome":
        """The outcome of a dictionary of its fields, which may have been stored as JSON."""
        values = {**kept}
        former = values.pop("evaluations", None)  # the name in earlier versions
        values |= {} if former is None else {"network_evaluations": former}
        return cls(**_known(cls, values))


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
        """The jackknife's replicates of a Fréchet distance; empty if there are none."""
        return self.outcome.replicates.get(metric, ())
