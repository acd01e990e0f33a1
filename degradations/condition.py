"""What a denoiser is conditioned on."""

from typing import NamedTuple

import torch
from torch import Tensor


class Condition(NamedTuple):
    """What a denoiser is told beside x and σ: today the class of each sample.

    label: [B] class index, −1 for a sample without one, or None where no sample has one.
    """

    label: Tensor | None = None

    def labels(self, x: Tensor) -> Tensor:
        """The class index of each sample of x, [B], −1 where it has none."""
        if self.label is None:
            return torch.full((len(x),), -1, device=x.device)
        return self.label


NONE = Condition()


def condition_of(given: Condition | Tensor | None) -> Condition:
    """A condition; of a tensor the one with these labels, of None that of samples without any."""
    if isinstance(given, Condition):
        return given
    return NONE if given is None else Condition(given)
