"""Rules: how the estimates of main and guide become one. A rule consists of parts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from degradations.denoiser import column
from degradations.draws import Trajectory
from degradations.errors import InputError
from degradations.guidance.views import X0, View
from degradations.named import Named, named, read, split_parts


class Point(NamedTuple):
    """Where a rule combines: x [B, …] and its noise level, float64, [B] or a scalar.

    trajectory: the sampler's, None if a denoiser is called without draws. memory: what the part
    remembers of it, None if it has no memory.
    """

    x: Tensor
    sigma: Tensor
    trajectory: Trajectory | None = None
    memory: Any = None


@dataclass(frozen=True)
class Part(Named, ABC):
    """A part of a rule: a `Schedule`, a `Combination` or a `Correction`.

    view: the parametrisation in which it is defined. needs: of the data and the sampler, what it
    cannot do without: 'images', 'pixels' (images that are not latents), 'step' (the number of the
    step), 'first order' (a solver that evaluates once a step). main_at_one: whether weight 1 is the
    main alone.
    """

    view: ClassVar[View] = X0
    needs: ClassVar[frozenset[str]] = frozenset()
    main_at_one: ClassVar[bool] = True
    order: ClassVar[int]  # among the parts of a rule

    def uses_main(self, weight: float) -> bool:
        """Whether the main is needed at the noise levels where the guide is."""
        return True

    def begin(self) -> Any:
        """The memory of a new trajectory, None for a part that has none."""
        return None

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """Raises InputError for samples, of a shape without the batch, that it cannot act on."""


@dataclass(frozen=True)
class Schedule(Part):
    """How much of the weight acts at a noise level: w(σ) = 1 + (w − 1)·share(σ)."""

    order: ClassVar[int] = 0

    @abstractmethod
    def share(self, sigma: Tensor) -> Tensor:
        """The share at each noise level of sigma, float64; the guide is evaluated where it is not
        0."""
        raise NotImplementedError

    def require_levels(self, sigmas: Tensor) -> None:
        """Raises InputError for noise levels of a sampler that the schedule does not cover."""


@dataclass(frozen=True)
class Combination(Part):
    """How the two estimates are combined, in place of w·D1 + (1 − w)·D0."""

    order: ClassVar[int] = 1

    @abstractmethod
    def combine(self, d1: Tensor, d0: Tensor, weight: Tensor | float, at: Point) -> Tensor:
        """The guided estimate of the main's d1 and the guide's d0, all in the part's view.

        d1, d0: of the shape of x; weight: a number, or one per sample, [B, 1, …].
        """
        raise NotImplementedError

    def idles(self, step: int) -> bool:
        """Whether in a step neither is evaluated; the estimate is then 0 in the part's view."""
        return False


@dataclass(frozen=True)
class Correction(Part):
    """What is changed of the guided estimate afterwards."""

    order: ClassVar[int] = 2

    @abstractmethod
    def correct(self, d: Tensor, d1: Tensor, at: Point) -> Tensor:
        """The corrected estimate of the guided d, beside the main's d1, all in the part's view."""
        raise NotImplementedError


@dataclass(frozen=True)
class Rule:
    """How the estimates of main and guide are combined at a weight, which is not part of the rule.

    Its schedules say how much of the weight acts at a noise level, its combination combines (w·D1 +
    (1 − w)·D0 without one), its corrections change the result, in their order. Weight 1 is the main
    alone, bit for bit, unless `main_at_one` is false. The name joins those of the parts by +,
    schedules first. Raises InputError for no parts, for two combinations, and for `constant` beside
    others.
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        schedules = sorted((p for p in self.parts if isinstance(p, Schedule)), key=str)
        rest = [part for part in self.parts if not isinstance(part, Schedule)]
        parts = (*schedules, *sorted(rest, key=lambda part: part.order))
        object.__setattr__(self, "parts", parts)
        if not parts:
            raise InputError("rule: found no parts; accepted: at least one.")
        combinations = [str(part) for part in parts if isinstance(part, Combination)]
        if len(combinations) > 1:
            raise InputError(
                f"'{self}': found {' and '.join(combinations)}; accepted: one way to combine."
            )
        if len(parts) > 1 and "constant" in combinations:
            raise InputError(f"'{self}': leave out constant, which is what the others change.")
        if schedules and not self.main_at_one:
            raise InputError(
                f"'{self}': a schedule is of the weight's distance from 1, which is not the main "
                f"alone with {' or '.join(combinations)}."
            )

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))

    @property
    def combination(self) -> Combination | None:
        return next((part for part in self.parts if isinstance(part, Combination)), None)

    @property
    def main_at_one(self) -> bool:
        """Whether weight 1 is the main alone."""
        return all(part.main_at_one for part in self.parts)

    @property
    def needs(self) -> frozenset[str]:
        """What the parts cannot do without, see `Part`."""
        return frozenset().union(*(part.needs for part in self.parts))

    def share(self, sigma: Tensor) -> Tensor:
        """The share of w − 1 that acts at each noise level: the product of the schedules'."""
        sigma = sigma.to(torch.float64)
        share = torch.ones_like(sigma)
        for part in self.parts:
            if isinstance(part, Schedule):
                share = share * part.share(sigma)
        return share

    def weights(self, weight: float, sigma: Tensor) -> Tensor:
        """The weight at each noise level, 1 + (w − 1)·share, float64."""
        share = self.share(sigma)
        return torch.where(share == 1, weight, 1 + (weight - 1) * share)

    def uses_guide(self, weight: float, sigma: Tensor) -> Tensor:
        """Whether the guide is needed, for each noise level of sigma; elsewhere D = D1."""
        if self.main_at_one:
            return self.weights(weight, sigma) != 1
        return self.share(sigma) != 0

    def uses_main(self, weight: float) -> bool:
        """Whether the main is needed at the noise levels where the guide is."""
        return any(part.uses_main(weight) for part in self.parts)

    def idles(self, weight: float, step: int) -> bool:
        """Whether in a step neither main nor guide is evaluated."""
        active = weight != 1 or not self.main_at_one
        return active and self.combination is not None and self.combination.idles(step)

    def idle(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The estimate where neither is evaluated: 0 in the view of the combination."""
        assert self.combination is not None
        return self.combination.view.back(torch.zeros_like(x), x, sigma)

    def begin(self) -> tuple[Any, ...]:
        """The parts' memories of a new trajectory."""
        return tuple(part.begin() for part in self.parts)

    @property
    def remembers(self) -> bool:
        """Whether a part has a memory."""
        return any(memory is not None for memory in self.begin())

    def combine(self, d1: Tensor, d0: Tensor, weight: float, at: Point) -> Tensor:
        """The guided estimate of the main's d1 and the guide's d0, all of the shape of x.

        at.memory: what `begin` returned for this trajectory, None if nothing is remembered.
        """
        levels = self.weights(weight, at.sigma)
        first = levels.flatten()[0]
        w: float | Tensor = float(first) if (levels == first).all() else column(levels, d1)
        d = w * d1 + (1 - w) * d0 if self.combination is None else d1
        for part, memory in zip(self.parts, at.memory or self.begin(), strict=True):
            here, view = at._replace(memory=memory), part.view
            seen = [view.of(each, at.x, at.sigma) for each in (d, d1, d0)]
            if isinstance(part, Combination):
                d = view.back(part.combine(seen[1], seen[2], w, here), at.x, at.sigma)
            elif isinstance(part, Correction):
                d = view.back(part.correct(seen[0], seen[1], here), at.x, at.sigma)
        return d


def rules() -> dict[str, type[Part]]:
    """The parts of rules by their kind, in alphabetical order."""
    return named(Part)


def parse_rule(text: str) -> Rule:
    """The rule of a name: `constant`, `interval(0.3, 5)`, `interval(0.3, 5)+rescale(0.7)`.

    Raises InputError if no rule has it.
    """
    parts = split_parts(text)
    within = "" if len(parts) == 1 else f" in '{text}'"
    return Rule(tuple(read(each, rules(), f"'{each.strip()}'{within}", "a rule") for each in parts))
