"""What a denoiser is conditioned on."""

from typing import NamedTuple

import torch
from torch import Tensor


class Condition(NamedTuple):
    """What a denoiser is conditioned on, at present the class of each sample.

    label: [B] class index, −1 for a sample without a label; None if no sample has one.
    """

    label: Tensor | None = None

    def labels(self, x: Tensor) -> Tensor:
        """The class index of each sample of x, [B]; −1 for a sample without a label."""
        if self.label is None:
            return torch.full((len(x),), -1, device=x.device)
        return self.label


NONE = Condition()


def condition_of(given: Condition | Tensor | None) -> Condition:
    """A condition as it is, a tensor of labels as a condition, None as the empty condition."""
    if isinstance(given, Condition):
        return given
    return NONE if given is None else Condition(given)
