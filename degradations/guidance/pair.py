"""Two degradations of one base, and their guided denoiser."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from degradations.around import Question
from degradations.condition import NONE, Condition
from degradations.degradation import Degradation
from degradations.denoiser import Denoiser
from degradations.draws import Draws, Trajectory
from degradations.errors import InputError
from degradations.guidance.constant import Constant
from degradations.guidance.rule import Part, Point, Rule, parse_rule
from degradations.guidance.together import Together
from degradations.parsing import parse

Coupling = Literal["independent", "shared"]
DEFAULT_RULE = Constant()


class Pair:
    """A main and a guide made from one base, and the coupling of their randomness.

    `independent`: the guide draws its own masks and noise; `shared`: at every evaluation it repeats
    the main's draws in their order, and draws numbers of its own if it needs more than the main.
    main, guide: also by name. Raises InputError if the base lacks the sites or the coupling is
    unknown.
    """

    def __init__(
        self,
        base: Denoiser,
        main: Degradation | str,
        guide: Degradation | str,
        coupling: Coupling = "independent",
    ) -> None:
        if coupling not in get_args(Coupling):
            raise InputError(
                f"coupling: found '{coupling}'; accepted: {' or '.join(get_args(Coupling))}."
            )
        main, guide = (parse(each) if isinstance(each, str) else each for each in (main, guide))
        self.main, self.guide, self.coupling = main(base), guide(base), coupling

    @property
    def shares(self) -> bool:
        """Whether main and guide share every evaluation of their network."""
        together = Together.of(self.main, self.guide)
        return together is not None and together.share

    def at(self, weight: float, rule: Rule | Part | str = DEFAULT_RULE) -> "Guided":
        """The guided denoiser at a weight, by a rule, its only part, or its name.

        Raises InputError if the weight is not finite or no rule has the name.
        """
        return Guided(self.main, self.guide, weight, self.coupling, rule)


class Guided(Denoiser):
    """D(x; σ, c) of a main D1 and a guide D0, combined by a rule at a weight.

    A denoiser that the rule does not use is not evaluated. The main uses the draws as they are
    given, so its random numbers are the same at every weight and the same as when it is sampled
    alone. Raises InputError if the weight is not finite.
    """

    def __init__(
        self,
        main: Denoiser,
        guide: Denoiser,
        weight: float,
        coupling: Coupling = "independent",
        rule: Rule | Part | str = DEFAULT_RULE,
    ) -> None:
        super().__init__()
        if not math.isfinite(weight):
            raise InputError(f"guidance weight: found {weight}; accepted: a finite number.")
        self.main, self.guide, self.weight, self.coupling = main, guide, float(weight), coupling
        rule = parse_rule(rule) if isinstance(rule, str) else rule
        self.rule = Rule((rule,)) if isinstance(rule, Part) else rule
        self.together = Together.of(main, guide)

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        levels = torch.as_tensor(sigma, dtype=torch.float64)
        trajectory = self._trajectory(draws)
        if trajectory and self.rule.idles(self.weight, trajectory.step):
            return self.rule.idle(x, levels)
        guided = self.rule.uses_guide(self.weight, levels)
        if not guided.any():
            return self.main(x, sigma, condition, draws)
        if not self.rule.uses_main(self.weight):
            return self.guide(x, sigma, condition, draws and self._guide_draws(draws, since=draws))
        d1, d0 = self._estimates(Question(x, sigma, condition), draws)
        memory = trajectory and trajectory.memory(self, self.rule.begin)
        at = Point(x, levels, trajectory, memory)
        combined = self.rule.combine(d1, d0, self.weight, at)
        if guided.all():
            return combined
        return torch.where(guided.reshape(-1, *[1] * (x.ndim - 1)), combined, d1)

    def _estimates(self, question: Question, draws: Draws | None) -> tuple[Tensor, Tensor]:
        """The estimates of main and guide."""
        before = draws and draws.twin()

        def guide_draws() -> Draws | None:
            return draws and before and self._guide_draws(draws, since=before)

        if self.together is not None:
            found = self.together.estimates(question, draws, guide_draws)
            if found is not None:
                return found
        d1 = self.main(*question, draws)
        return d1, self.guide(*question, guide_draws())

    def _trajectory(self, draws: Draws | None) -> Trajectory | None:
        if draws is None and (self.rule.remembers or self.rule.needs & {"step", "first order"}):
            raise InputError(
                f"{self.rule}: found no trajectory, which it depends on; call the denoiser with "
                "draws=Draws(seed)."
            )
        return None if draws is None else draws.trajectory

    def _guide_draws(self, draws: Draws, since: Draws) -> Draws:
        return draws.follower(since) if self.coupling == "shared" else draws.child("guide")
