"""ADM, the U-Net of classifier guidance."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from study.models.patched import unet_of
from study.models.preconditioning import Network
from study.models.unet import Positional, UNet, begin, columns
from study.models.unet_blocks import Conv, Style, group_norm
from study.specs import NetworkSpec

EPS = 1e-5  # of every group norm
HEAD = 64  # channels of a head of attention


class DhariwalUNet(UNet):
    """ADM (Dhariwal & Nichol 2021), with adaptive group norms and several attention heads.

    The embedding scales and shifts, and many levels have attention. width, multipliers: channels of
    each level; embedding_multiplier: of the embedding, in widths; head_width: channels of a head;
    augmentations: entries of a label of augmentations in training, which sampling never gives; its
    weights are kept without effect. The rest as in `UNet`. Raises InputError if the numbers do not
    fit together. (as in Karras et al. 2022, appendix F and table 7)
    """

    kind: ClassVar[str | None] = "adm"

    def __init__(
        self,
        resolution: int,
        channels: int,
        classes: int = 0,
        out_channels: int | None = None,
        augmentations: int = 0,
        width: int = 192,
        multipliers: Sequence[int] = (1, 2, 3, 4),
        embedding_multiplier: int = 4,
        blocks: int = 3,
        attention_at: Sequence[int] = (32, 16, 8),
        head_width: int = HEAD,
    ) -> None:
        out_channels = channels if out_channels is None else out_channels
        widths, embedding = [width * m for m in multipliers], width * embedding_multiplier
        style = Style(embedding, EPS, adaptive=True, gain=1.0, project=False, head_width=head_width)
        super().__init__(
            resolution,
            channels,
            out_channels,
            classes,
            widths[0],
            widths,
            blocks,
            attention_at,
            False,
            style,
        )
        self.map_noise = Positional(width, endpoint=False)
        self.map_augment = nn.Linear(augmentations, width, bias=False) if augmentations else None
        self.map_layer0 = nn.Linear(width, embedding)
        self.map_layer1 = nn.Linear(embedding, embedding)
        self.map_label = nn.Linear(classes, embedding, bias=False) if classes else None
        self.out_norm = group_norm(widths[0], EPS)
        self.out_conv = Conv(widths[0], out_channels, 3)

    @classmethod
    def of(cls, spec: NetworkSpec, shape: Sequence[int], classes: int) -> Network:
        head = min(HEAD, spec.width)
        return unet_of(cls, _begin, spec, shape, classes, head_width=head)

    def embed(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        angles = self.map_noise(c_noise)
        h = self.map_layer1(silu(self.map_layer0(torch.cat([angles.cos(), angles.sin()], dim=1))))
        if self.map_label is not None and label is not None:
            h = h + columns(self.map_label.weight, label)
        return silu(h)

    def read(self, side: int, h: Tensor, out: Tensor | None) -> Tensor | None:
        return self.out_conv(silu(self.out_norm(h))) if side == self.sides[0] else None


def _begin(network: DhariwalUNet) -> None:
    begin(network)
    nn.init.zeros_(network.out_conv.weight)
