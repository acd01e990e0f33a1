"""Images denoised window by window."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from degradations.around import Around, Question
from degradations.denoiser import Denoiser
from degradations.draws import Draws
from degradations.errors import InputError


@dataclass(frozen=True)
class Windows(Around):
    """`windows(s)`: the mean of four estimates, of windows that lack the fraction s of each side.

    The windows lie in the corners of an image and overlap; s ≤ 1/2, so that they cover it. Their
    sides are the nearest that the network takes, see `Denoiser.crops`. x: [B, C, H, W]. The guide
    of sliding window guidance, without the mask of its later version. Raises InputError if the
    network does not take windows, or the nearest is the whole image. (Kaiser et al. 2024)
    """

    kind: ClassVar[str] = "windows"
    most: ClassVar[float] = 0.5
    networks: ClassVar[int] = 4  # type: ignore[misc]  # evaluations, each of a smaller image

    def degrade(self, base: Denoiser) -> Denoiser:
        if base.declared("crops") is None:
            raise InputError(
                f"{self}: found a network of whole images; accepted: one that takes images of "
                "other sizes, as convolutional U-Nets do."
            )
        return super().degrade(base)

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        x, sigma, condition = question
        rows, columns = self._places(x, base)
        windows = torch.cat([x[:, :, r, c] for r in rows for c in columns])
        sigma = sigma.repeat(4) if isinstance(sigma, Tensor) and sigma.numel() > 1 else sigma
        label = None if condition.label is None else condition.label.repeat(4)
        return Question(windows, sigma, condition._replace(label=label))

    def answer(self, d: Tensor, question: Question, base: Denoiser) -> Tensor:
        total, count = torch.zeros_like(question.x), torch.zeros_like(question.x)
        rows, columns = self._places(question.x, base)
        places = [(r, c) for r in rows for c in columns]
        for (r, c), each in zip(places, d.chunk(4), strict=True):
            total[:, :, r, c] += each
            count[:, :, r, c] += 1
        return total / count

    def _places(self, x: Tensor, base: Denoiser) -> list[tuple[slice, slice]]:
        """The rows, and the columns, of the first and last windows of x."""
        if x.ndim != 4:
            raise InputError(
                f"windows: found samples of shape {list(x.shape)}; accepted: [B, C, H, W]."
            )
        found, unit = [], base.declared("crops")
        for side in x.shape[2:]:
            length = unit * round((1 - self.strength) * side / unit)
            length = max(length, unit * -(-side // (2 * unit)))
            if length >= side:
                raise InputError(
                    f"{self}: found sides of {side} pixels; accepted by this network: windows that "
                    f"are shorter, with sides that are multiples of {unit}."
                )
            found.append((slice(0, length), slice(side - length, side)))
        return found
