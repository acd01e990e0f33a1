"""Estimates moved away from the class of the label."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.around import Around, Question
from degradations.denoiser import Denoiser
from degradations.errors import InputError
from degradations.noisy_classifier import NoisyClassifier


@dataclass(frozen=True)
class Classifier(Around):
    """`classifier(s)`: D − s·σ²·∇ₓ log p(c | x; σ), by a classifier of noisy samples.

    As the guide classifier(1) of an undamaged main, weight w is classifier guidance of the scale γ
    = w − 1: D + γ·σ²·∇ₓ log p(c | x; σ). A main without labels is `label-drop(1)`, its guide
    `label-drop(1)+classifier(1)`; γ is then larger by 1 for the same effect. One evaluation of the
    network is for both; those of the classifier, and of its gradient, are not counted. A sample
    without a label is not changed. Raises InputError if the base has no such classifier. (Dhariwal
    & Nichol 2021, § 4)
    """

    kind: ClassVar[str] = "classifier"
    asks: ClassVar[bool] = False

    def degrade(self, base: Denoiser) -> Denoiser:
        self._of(base)
        return super().degrade(base)

    def answer(self, d: Tensor, question: Question, base: Denoiser) -> Tensor:
        x, sigma, condition = question
        if condition.label is None:
            return d
        return d - self.strength * self._of(base).shift(x, sigma, condition.label)

    def _of(self, base: Denoiser) -> NoisyClassifier:
        load = base.declared("classifier")
        if load is None:
            raise InputError(
                f"{self}: found a base without a classifier of noisy samples; accepted: one of a "
                "data set, or share of it, of which `study train CONFIG --noisy-classifier` made "
                "one."
            )
        with torch.inference_mode(False):  # tensors made while sampling have no gradients
            found: NoisyClassifier = load()
        return found
