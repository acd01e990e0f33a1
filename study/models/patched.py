"""Networks at a lower resolution: the pixels of a patch become channels."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, InputError
from study.models.preconditioning import PRECISIONS, Network


class Patched(Network):
    """A network on [B, C·p², H/p, W/p] as one on [B, C, H, W]: the space-to-depth transform.

    (Shi et al. 2016, pixel shuffle)
    """

    precisions: ClassVar[tuple[torch.dtype, ...]] = PRECISIONS

    def __init__(self, network: Network, patch: int) -> None:
        super().__init__()
        self.network, self.patch = network, patch
        self.crops = None if network.crops is None else patch * network.crops

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        folded = nn.functional.pixel_unshuffle(x, self.patch)
        return nn.functional.pixel_shuffle(
            self.network(folded, c_noise, condition, draws), self.patch
        )

    def _round(self, precision: torch.dtype) -> None:
        self.network.use(precision)


def on_patches(
    make: Callable[[int, int], Network], kind: str, shape: Sequence[int], patch: int
) -> Network:
    """A network of square images, made for their resolution and channels, on patches of a shape.

    Raises InputError if the shape is not that of square images that patches fill.
    """
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] % patch:
        raise InputError(
            f"network {kind}: found samples of shape {list(shape)}; accepted: square images "
            f"[C, H, H], H a multiple of network.patch, {patch}."
        )
    made = make(shape[1] // patch, shape[0] * patch**2)
    return made if patch == 1 else Patched(made, patch)
