"""Two degradations of one base, and the denoiser that one of them guides."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from degradations.degradation import Degradation
from degradations.denoiser import Denoiser, column
from degradations.draws import Draws
from degradations.errors import InputError

Coupling = Literal["independent", "shared"]
Interval = tuple[float, float]


class Pair:
    """A main and a guide made from one base, and the coupling of their randomness.

    `independent`: the guide draws its own masks and noise; `shared`: at every evaluation it sees
    the main's draws, in their order, and where it draws more than the main, numbers of its own.
    Raises InputError where the base lacks the sites, or for an unknown coupling.
    """

    def __init__(
        self,
        base: Denoiser,
        main: Degradation,
        guide: Degradation,
        coupling: Coupling = "independent",
    ) -> None:
        if coupling not in get_args(Coupling):
            raise InputError(
                f"coupling '{coupling}': accepted are {' and '.join(get_args(Coupling))}."
            )
        self.main, self.guide, self.coupling = main(base), guide(base), coupling

    def at(self, weight: float, interval: Interval | None = None) -> "Guided":
        """The guided denoiser of a weight. Raises InputError for a weight that is not finite."""
        return Guided(self.main, self.guide, weight, self.coupling, interval)


class Guided(Denoiser):
    """D_w(x; σ, c) = w·D1(x; σ, c) + (1 − w)·D0(x; σ, c), main D1, guide D0 (Karras et al. 2024,
    eq. 3).

    w = 1 is the main alone and w = 0 the guide alone, bit for bit, and the other is not evaluated.
    The main takes the draws as they are given, so its randomness is the same at every weight, and
    the same as when it is sampled alone. interval: (σ_low, σ_high), both included, outside of which
    the main is alone (Kynkäänniemi et al. 2024, eq. 5); with one the main is evaluated at w = 0
    too, so that its draws go on as at other weights.
    """

    def __init__(
        self,
        main: Denoiser,
        guide: Denoiser,
        weight: float,
        coupling: Coupling = "independent",
        interval: Interval | None = None,
    ) -> None:
        super().__init__()
        if not math.isfinite(weight):
            raise InputError(f"guidance weight {weight}: it must be a finite number.")
        if interval is not None and not 0 <= interval[0] <= interval[1]:
            raise InputError(
                f"guidance interval {interval}: two noise levels are wanted, the lower one first."
            )
        self.main, self.guide, self.weight, self.coupling = main, guide, float(weight), coupling
        self.interval = interval

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        label: Tensor | None = None,
        draws: Draws | None = None,
    ) -> Tensor:
        weight: float | Tensor = self.weight
        if self.interval is not None:
            inside = _inside(sigma, self.interval)
            if not inside.any():
                weight = 1.0
            elif not inside.all():
                weight = column(torch.where(inside, self.weight, 1.0), x)
        if isinstance(weight, float) and weight == 1:
            return self.main(x, sigma, label, draws)
        if self.weight == 0 and self.interval is None:
            return self.guide(x, sigma, label, draws and self._guide_draws(draws, since=draws))
        before = draws and draws.twin()
        d1 = self.main(x, sigma, label, draws)
        d0 = self.guide(
            x, sigma, label, draws and before and self._guide_draws(draws, since=before)
        )
        return weight * d1 + (1 - weight) * d0

    def _guide_draws(self, draws: Draws, since: Draws) -> Draws:
        return draws.follower(since) if self.coupling == "shared" else draws.child("guide")


def _inside(sigma: Tensor | float, interval: Interval) -> Tensor:
    levels = torch.as_tensor(sigma, dtype=torch.float64)
    return (interval[0] <= levels) & (levels <= interval[1])
