"""DDPM++ and NCSN++, the U-Nets of score-based models."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from study.models.patched import unet_of
from study.models.preconditioning import Network
from study.models.unet import Fourier, Positional, UNet, at, begin, columns
from study.models.unet_blocks import Conv, Resample, Style, group_norm
from study.specs import NetworkSpec

EPS = 1e-6  # of every group norm


class SongUNet(UNet):
    """DDPM++ or, with embedding 'fourier', encoder 'residual' and taps (1, 3, 3, 1), NCSN++.

    width, multipliers: channels of each level; embedding_multiplier, noise_multiplier: of the
    embedding and of the features of the noise level, in widths; augmentations: entries of a label
    of augmentations in training, which sampling never gives; its weights are kept without effect;
    encoder: the second input of a level, 'skip' x at its resolution, 'residual' a convolution of
    the second input of the level above, 'standard' none; decoder: whether the output is that of the
    top level, 'standard', or summed over all levels, 'skip'. The rest as in `UNet`. Raises
    InputError if the numbers do not fit together.

    A residual sum is scaled by √½; attention has one head. (Song et al. 2021; as in Karras et al.
    2022, appendix F and table 7)
    """

    kind: ClassVar[str | None] = "ddpmpp"

    def __init__(
        self,
        resolution: int,
        channels: int,
        classes: int = 0,
        out_channels: int | None = None,
        augmentations: int = 0,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        embedding_multiplier: int = 4,
        noise_multiplier: int = 1,
        blocks: int = 4,
        attention_at: Sequence[int] = (16,),
        embedding: Literal["positional", "fourier"] = "positional",
        encoder: Literal["standard", "skip", "residual"] = "standard",
        decoder: Literal["standard", "skip"] = "standard",
        taps: Sequence[float] = (1, 1),
    ) -> None:
        out_channels = channels if out_channels is None else out_channels
        widths, width_embedding, noise = (
            [width * m for m in multipliers],
            width * embedding_multiplier,
            width * noise_multiplier,
        )
        style = Style(
            width_embedding,
            EPS,
            adaptive=False,
            gain=math.sqrt(0.5),
            project=True,
            head_width=None,
            taps=tuple(taps),
        )
        super().__init__(
            resolution,
            channels,
            out_channels,
            classes,
            width,
            widths,
            blocks,
            attention_at,
            True,
            style,
        )
        self.encoder, self.decoder = encoder, decoder
        positional = embedding == "positional"
        self.map_noise = Positional(noise, endpoint=True) if positional else Fourier(noise)
        self.map_label = nn.Linear(classes, noise) if classes else None
        self.map_augment = nn.Linear(augmentations, noise, bias=False) if augmentations else None
        self.map_layer0 = nn.Linear(noise, width_embedding)
        self.map_layer1 = nn.Linear(width_embedding, width_embedding)
        beside = channels
        for side, entering in zip(self.sides[1:], widths[:-1], strict=True):
            if encoder == "skip":
                self.enc[at(side, "aux_down")] = Resample("down", taps)
                self.enc[at(side, "aux_skip")] = Conv(channels, entering, 1)
            elif encoder == "residual":
                self.enc[at(side, "aux_residual")] = Conv(
                    beside, entering, 3, "down", taps, ahead=True
                )
                beside = entering
        for side, leaving in zip(self.sides, widths, strict=True):
            if decoder == "skip" and side != self.sides[-1]:
                self.dec[at(side, "aux_up")] = Resample("up", taps)
            if decoder == "skip" or side == self.sides[0]:
                self.dec[at(side, "aux_norm")] = group_norm(leaving, EPS)
                self.dec[at(side, "aux_conv")] = Conv(leaving, out_channels, 3)

    @classmethod
    def of(cls, spec: NetworkSpec, shape: Sequence[int], classes: int) -> Network:
        return unet_of(cls, _begin, spec, shape, classes)

    def embed(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        angles = self.map_noise(c_noise)
        h = torch.cat([angles.sin(), angles.cos()], dim=1)
        if self.map_label is not None and label is not None:
            # √classes times a one-hot vector has the magnitude of the features.
            h = (
                h
                + columns(self.map_label.weight, label) * math.sqrt(self.map_label.in_features)
                + self.map_label.bias
            )
        return silu(self.map_layer1(silu(self.map_layer0(h))))

    def enter(self, side: int, h: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        if self.encoder == "skip":
            beside = self.enc[at(side, "aux_down")](beside)
            return h + self.enc[at(side, "aux_skip")](beside), beside
        if self.encoder == "residual":
            h = (h + self.enc[at(side, "aux_residual")](beside)) * math.sqrt(0.5)
            return h, h
        return h, beside

    def read(self, side: int, h: Tensor, out: Tensor | None) -> Tensor | None:
        if self.decoder == "standard" and side != self.sides[0]:
            return None
        found = self.dec[at(side, "aux_conv")](silu(self.dec[at(side, "aux_norm")](h)))
        return found if out is None else found + self.dec[at(side, "aux_up")](out)


def _begin(network: SongUNet) -> None:
    begin(network)
    last = network.dec[at(network.sides[0], "aux_conv")]
    assert isinstance(last, Conv)
    nn.init.zeros_(last.weight)
