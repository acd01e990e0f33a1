"""The magnitude-preserving U-Net of EDM2, with its published parameter names."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from degradations import Condition, Draws, InputError, LabelSite
from study.models.edm2_blocks import Block, Fourier, Resample, Weight, mp_cat, mp_silu, mp_sum
from study.models.patched import unet_of
from study.models.preconditioning import PRECISIONS, Network
from study.specs import NetworkSpec


class EDM2UNet(Network):
    """The U-Net of configuration G, without biases and group norms.

    (Karras et al. 2024, EDM2, figure 21, appendix B) resolution: side of the square x; channels: of
    x; classes: 0 for none; width, multipliers: channels of each level; noise_multiplier,
    embedding_multiplier: of the noise features and of the embedding, in widths, by default the
    first and the largest of the multipliers; blocks: of each level; attention_at: sides of the maps
    with attention; the balances are the t of magnitude-preserving sums and concatenations.

    Weights are normalised once, when they are loaded, so a loaded network contains
    w/(ε + rms(w))/√fan_in. Its sites: 'dropout' before the second convolution of every block,
    'block' at its residual branches, 'attention', 'map' at its entry, 'label' if there are classes.
    Raises InputError if the numbers do not fit together.
    """

    kind: ClassVar[str | None] = "edm2"
    precisions = PRECISIONS

    def __init__(
        self,
        resolution: int,
        channels: int,
        classes: int,
        width: int = 192,
        multipliers: Sequence[int] = (1, 2, 3, 4),
        noise_multiplier: int | None = None,
        embedding_multiplier: int | None = None,
        blocks: int = 3,
        attention_at: Sequence[int] = (16, 8),
        label_balance: float = 0.5,
        concat_balance: float = 0.5,
        head_width: int = 64,
        residual_balance: float = 0.3,
        attention_balance: float = 0.3,
        clip: float | None = 256.0,
    ) -> None:
        super().__init__()
        widths, halved = [width * m for m in multipliers], len(multipliers) - 1
        if resolution % 2**halved:
            raise InputError(
                f"EDM2UNet: found resolution {resolution}; accepted: multiples of {2**halved}, to "
                f"be halved {halved} times."
            )
        self.crops = 2**halved
        noise = width * (multipliers[0] if noise_multiplier is None else noise_multiplier)
        embedding = width * (
            max(multipliers) if embedding_multiplier is None else embedding_multiplier
        )
        self.label_balance, self.concat_balance = label_balance, concat_balance
        self.emb_fourier = Fourier(noise)
        self.emb_noise = Weight(noise, embedding)
        self.emb_label = Weight(classes, embedding) if classes else None
        self.label = LabelSite(classes) if classes else None

        def block(
            before: int,
            after: int,
            flavor: Literal["enc", "dec"],
            attends: bool,
            resample: Resample,
        ) -> Block:
            heads = after // head_width if attends else 0
            if heads and after % heads:
                raise InputError(
                    f"EDM2UNet: {after} channels cannot be divided among {heads} heads."
                )
            return Block(
                before,
                after,
                embedding,
                flavor,
                heads,
                resample,
                residual_balance,
                attention_balance,
                clip,
            )

        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        sides = [resolution >> level for level in range(len(widths))]
        now = widths[0]
        self.enc[f"{resolution}x{resolution}_conv"] = Weight(channels + 1, now, 3)
        skips = [now]
        for level, (side, after) in enumerate(zip(sides, widths, strict=True)):
            if level:
                self.enc[f"{side}x{side}_down"] = block(now, now, "enc", False, "down")
                skips.append(now)
            for index in range(blocks):
                self.enc[f"{side}x{side}_block{index}"] = block(
                    now, after, "enc", side in attention_at, "keep"
                )
                now = after
                skips.append(now)
        for level, (side, after) in reversed(list(enumerate(zip(sides, widths, strict=True)))):
            if level == len(widths) - 1:
                self.dec[f"{side}x{side}_in0"] = block(now, now, "dec", True, "keep")
                self.dec[f"{side}x{side}_in1"] = block(now, now, "dec", False, "keep")
            else:
                self.dec[f"{side}x{side}_up"] = block(now, now, "dec", False, "up")
            for index in range(blocks + 1):
                before = now + skips.pop()
                self.dec[f"{side}x{side}_block{index}"] = block(
                    before, after, "dec", side in attention_at, "keep"
                )
                now = after
        self.out_conv = Weight(now, channels, 3)
        self.out_gain = nn.Parameter(torch.zeros([]))

    @classmethod
    def of(cls, spec: NetworkSpec, shape: Sequence[int], classes: int) -> Network:
        return unet_of(cls, _begin, spec, shape, classes, head_width=min(64, spec.width))

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        embedding = self._embed(x, c_noise, condition, draws)
        # The convolutions have no biases: a channel of ones gives the first one a bias.
        h = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).contiguous(
            memory_format=torch.channels_last
        )
        skips: list[Tensor] = []
        for layer in self.enc.values():
            h = layer(h) if isinstance(layer, Weight) else layer(h, embedding, draws)
            skips.append(h)
        for name, layer in self.dec.items():
            h = layer(
                mp_cat(h, skips.pop(), self.concat_balance) if "block" in name else h,
                embedding,
                draws,
            )
        return self.out_conv(h) * self.out_gain.to(h.dtype)

    def _round(self, precision: torch.dtype) -> None:
        """Round convolutions and attention; the embedding and its linear layers stay in fp32."""
        for module in self.modules():
            if isinstance(module, Weight) and module.weight.ndim == 4:
                module.to(precision)

    def _embed(
        self, x: Tensor, c_noise: Tensor, condition: Condition, draws: Draws | None
    ) -> Tensor:
        """The embedding of noise level and label for every block, [B or 1, embedding]."""
        embedding = self.emb_noise(self.emb_fourier(c_noise))
        if self.label is not None and self.emb_label is not None:
            column = self.emb_label.column(self.label(condition.labels(x), draws))
            embedding = mp_sum(embedding, column, self.label_balance)
        return mp_silu(embedding)


def _begin(network: EDM2UNet) -> None:
    for module in network.modules():
        if isinstance(module, Weight):
            module.begin()
