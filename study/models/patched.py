"""Networks at a lower resolution: the pixels of a patch become channels."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, InputError
from study.models.preconditioning import PRECISIONS, Network
from study.specs import NetworkSpec

N = TypeVar("N", bound=Network)


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


def unet_of(
    make: Callable[..., N],
    begin: Callable[[N], None],
    spec: NetworkSpec,
    shape: Sequence[int],
    classes: int,
    **more: Any,
) -> Network:
    """The U-Net of a recipe on the patches of samples of a shape, as its training begins.

    make: the class; more: arguments of its own. Raises InputError if the shape is not that of
    square images that patches fill.
    """
    patch = spec.patch
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] % patch:
        raise InputError(
            f"network {spec.kind}: found samples of shape {list(shape)}; accepted: square images "
            f"[C, H, H], H a multiple of network.patch, {patch}."
        )
    sizes = {"width": spec.width, "multipliers": spec.multipliers, "blocks": spec.blocks}
    resolution, channels = shape[1] // patch, shape[0] * patch**2
    made = make(resolution, channels, classes, attention_at=spec.attention_at, **sizes, **more)
    begin(made)
    return made if patch == 1 else Patched(made, patch)
