"""Samples denoised without their labels."""

from dataclasses import dataclass
from typing import ClassVar

from degradations.around import Around, Question
from degradations.denoiser import Denoiser
from degradations.draws import Draws, required


@dataclass(frozen=True)
class LabelDrop(Around):
    """`label-drop(p)`: with probability p a sample is denoised without its label.

    Drawn anew at every evaluation as u < p, u ~ U[0, 1): with common draws, what a smaller p drops,
    a larger one drops too. (p = 1 is the guide of classifier-free guidance, Ho & Salimans 2022)
    """

    kind: ClassVar[str] = "label-drop"
    most: ClassVar[float] = 1.0

    @property
    def random(self) -> bool:
        return self.strength < 1

    def degrade(self, base: Denoiser) -> Denoiser:
        base.label_classes(wanted_by=str(self))
        return super().degrade(base)

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        label = question.condition.label
        if label is None:
            return question
        if self.random:
            u = required(draws, self.kind).uniform("label-drop", label)
            label = label.masked_fill(u < self.strength, -1)
        else:
            label = label.new_full(label.shape, -1)
        return question._replace(condition=question.condition._replace(label=label))
