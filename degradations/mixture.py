"""Several degradations at once: the weighted mean of their estimates, as several guides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from degradations.condition import NONE, Condition
from degradations.degradation import Degradation
from degradations.denoiser import Denoiser
from degradations.draws import Draws
from degradations.errors import InputError
from degradations.identity import Identity
from degradations.named import shortest

CLOSE = 1e-9


@dataclass(frozen=True)
class Mixture(Degradation):
    """`0.6*a & 0.4*b`: D0 = Σᵢ αᵢ·D0ᵢ, of shares αᵢ with the sum 1; equal ones if none are given.

    As a guide at weight w it is several guides, each with the weight wᵢ = 1 + (w − 1)·αᵢ: D = D1 +
    Σᵢ (wᵢ − 1)·(D1 − D0ᵢ). Guides with draws of their own draw independently of one another; with
    common draws each repeats those of the main. shares: all but the last. Raises InputError for
    fewer than two different parts, for `none` among them, and for shares that are not finite.
    (Karras et al. 2024, § 4)
    """

    parts: tuple[Degradation, ...]
    shares: tuple[float, ...]

    kind: ClassVar[str] = "mixture"

    def __post_init__(self) -> None:
        if len(set(self.parts)) < max(len(self.parts), 2) or Identity() in self.parts:
            raise InputError(f"'{self}': accepted: two or more different parts, without 'none'.")
        if len(self.shares) != len(self.parts) - 1 or not all(map(math.isfinite, self.shares)):
            raise InputError(f"'{self}': accepted: a finite share for every part.")

    @classmethod
    def of(cls, parts: Sequence[Degradation], shares: Sequence[float | None]) -> "Mixture":
        """A mixture with all of its shares, or none. Raises InputError unless their sum is 1."""
        given = [share for share in shares if share is not None]
        found = given or [1 / len(parts)] * len(parts)
        made = cls(tuple(parts), tuple(found[: len(parts) - 1]))
        if len(found) != len(parts) or abs(sum(found) - 1) > CLOSE:
            raise InputError(
                f"'{made}': found shares with the sum {sum(found):g}; accepted: none, or one for "
                "each part with the sum 1."
            )
        return made

    @property
    def networks(self) -> int:  # type: ignore[override]
        return sum(part.networks for part in self.parts)

    @property
    def all_shares(self) -> tuple[float, ...]:
        """The share of every part."""
        return (*self.shares, 1 - math.fsum(self.shares))

    def weights(self, weight: float) -> list[float]:
        """The weight of each guide where the mixture has a weight."""
        return [1 + (weight - 1) * share for share in self.all_shares]

    def __call__(self, base: Denoiser) -> Denoiser:
        return _Mean([part(base) for part in self.parts], self.all_shares)

    def __str__(self) -> str:
        shares = (shortest(float(f"{share:.12g}")) for share in self.all_shares)
        return "&".join(f"{s}*{part}" for s, part in zip(shares, self.parts, strict=False))


class _Mean(Denoiser):
    def __init__(self, denoisers: Sequence[Denoiser], shares: Sequence[float]) -> None:
        super().__init__()
        self.denoisers, self.shares = nn.ModuleList(denoisers), tuple(shares)

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        own = [draws and draws.part(index) for index in range(len(self.denoisers))]
        estimates = [
            share * denoiser(x, sigma, condition, each)
            for share, denoiser, each in zip(self.shares, self.denoisers, own, strict=True)
        ]
        return torch.stack(estimates).sum(0)
