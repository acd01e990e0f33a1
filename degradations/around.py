"""Degradations around a denoiser: of what it is asked, and of what it answers."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws


class Question(NamedTuple):
    """What a denoiser is asked: x, [B, …], its noise level, a scalar or [B], and the condition."""

    x: Tensor
    sigma: Tensor | float
    condition: Condition = NONE


@dataclass(frozen=True)
class Around(Kind):
    """A kind that changes the question to a denoiser or its answer, and nothing inside it.

    asks: whether it changes the question; otherwise a main and a guide that differ in it alone
    share one evaluation of the network.
    """

    asks: ClassVar[bool] = True

    @property
    def random(self) -> bool:
        """Whether the changed question depends on draws."""
        return False

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        """The question that the base is asked instead."""
        return question

    def answer(self, d: Tensor, question: Question, base: Denoiser) -> Tensor:
        """The answer in place of the base's d; question: as it was before `ask`."""
        return d

    def degrade(self, base: Denoiser) -> Denoiser:
        return Surrounded(base, self)


class Surrounded(Denoiser):
    """A denoiser with a degradation around it."""

    def __init__(self, base: Denoiser, kind: Around) -> None:
        super().__init__()
        self.base, self.kind = base, kind

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        question = Question(x, sigma, condition)
        asked = self.kind.ask(question, draws, self.base)
        return self.kind.answer(self.base(*asked, draws), question, self.base)
