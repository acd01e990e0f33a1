"""Labels replaced by random ones."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from degradations.around import Around, Question
from degradations.denoiser import Denoiser
from degradations.draws import Draws, required


@dataclass(frozen=True)
class LabelSwap(Around):
    """`label-swap(p)`: with probability p a sample's label is replaced by a random class.

    The class is drawn uniformly from all of them; a sample without a label keeps none. Drawn anew
    at every evaluation as u < p, u ~ U[0, 1): with common draws, what a smaller p swaps, a larger
    one swaps too, and to the same class.
    """

    kind: ClassVar[str] = "label-swap"
    most: ClassVar[float] = 1.0

    @property
    def random(self) -> bool:
        return True

    def degrade(self, base: Denoiser) -> Denoiser:
        base.label_classes(wanted_by=str(self))
        return super().degrade(base)

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        label, draws = question.condition.label, required(draws, self.kind)
        if label is None:
            return question
        swapped = (draws.uniform("label-swap", label) < self.strength) & (label >= 0)
        drawn = torch.randint(
            base.label_classes(wanted_by=str(self)),
            label.shape,
            generator=draws.generator("label-swap/class", label.device),
            device=label.device,
            dtype=label.dtype,
        )
        label = torch.where(swapped, drawn, label)
        return question._replace(condition=question.condition._replace(label=label))
