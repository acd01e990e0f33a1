"""How a base is built and trained."""

import math
from dataclasses import dataclass, field
from typing import Literal

from study.specs.checks import require, require_between

MOST_STEPS = 1_000_000_000  # below 2³¹, above which batches would repeat those of the next seed
MOST_BATCH = 1_000_000
MOST_LEVELS = 8  # of a U-Net
UNETS = ("adm", "ddpmpp", "edm2")
MOST_WEIGHTS = 100_000_000  # of a network; training takes nine times as many numbers, 3.6 GB


@dataclass(frozen=True)
class NetworkSpec:
    """The network of a base, by kind, of at most 100,000,000 weights.

    Args:
        width: features between the blocks; of a U-Net, channels of its first level
        hidden: features within a block (mlp, transformer)
        blocks: number of residual blocks, each with a dropout site; of a U-Net, on each level
        embedding: features of the embedding of noise level and label (mlp, transformer)
        kind: by name: mlp, transformer, or a U-Net: adm, ddpmpp or edm2
        heads: attention heads, among which the width is divided (transformer)
        patch: side of a patch, whose pixels become channels; 1: none (transformer, U-Nets)
        multipliers: channels of each level, of half the side of the one before, in widths (U-Nets)
        attention_at: sides of the maps with attention, after patches (U-Nets)
    """

    width: int = 64
    hidden: int = 192
    blocks: int = 8
    embedding: int = 32
    kind: str = "mlp"
    heads: int = 4
    patch: int = 2
    multipliers: tuple[int, ...] = (1, 2)
    attention_at: tuple[int, ...] = (7, 8)

    def __post_init__(self) -> None:
        for key in ("multipliers", "attention_at"):  # lists on a card
            object.__setattr__(self, key, tuple(getattr(self, key)))
        sizes = {
            "width": 4096,
            "hidden": 16384,
            "blocks": 256,
            "embedding": 4096,
            "heads": 256,
            "patch": 256,
        }
        for key, most in sizes.items():
            value = getattr(self, key)
            require(
                isinstance(value, int) and 1 <= value <= most,
                f"network.{key}",
                value,
                f"an integer from 1 to {most}",
            )
        require(
            1 <= len(self.multipliers) <= MOST_LEVELS
            and all(1 <= m <= 64 for m in self.multipliers),
            "network.multipliers",
            self.multipliers,
            f"1 to {MOST_LEVELS} integers from 1 to 64",
        )
        require(
            self.kind != "transformer" or self.width % self.heads == 0,
            "network.width",
            self.width,
            f"a multiple of network.heads, {self.heads}",
        )
        sizes_of_blocks = self.width, self.hidden, self.blocks
        require(
            self.weights <= MOST_WEIGHTS,
            "network.width, network.hidden, network.blocks",
            sizes_of_blocks,
            f"at most {MOST_WEIGHTS:,} weights (this network has {self.weights:,})",
        )

    @property
    def weights(self) -> int:
        """The number of weights of the blocks, which contain nearly all of the network's."""
        if self.kind in UNETS:  # two 3×3 convolutions a block, down and up again
            widths = (self.width * multiplier for multiplier in self.multipliers)
            return sum((2 * self.blocks + 1) * 18 * width**2 for width in widths)
        attention = 0 if self.kind == "mlp" else 4 * self.width**2
        return self.blocks * (2 * self.hidden * (self.width + self.embedding) + attention)


@dataclass(frozen=True)
class RecipeSpec:
    """How a base is trained.

    Args:
        data: data set to train on: by name (`study list data`), a folder of images with a subfolder
            for each class, a zip or an NPZ, torchvision:NAME or hub:ORG/NAME; then @size=N to crop
            and resize images, @split=S for a part of what is published
        network: size of the network
        steps: optimizer steps, at most 1,000,000,000
        batch: samples a step, at most 1,000,000
        lr: Adam's peak learning rate; constant for the first half, a cosine to zero in the second
        beta2: Adam's second moment decay
        p_mean: mean of ln sigma in training
        p_std: standard deviation of ln sigma in training
        sigma_data: standard deviation of the data
        ema: relative width of the power-function EMA profile, in (0, 0.28)
        seed: of initial weights and batches
        samples: share of the data trained on, in (0, 1]; the rest is held out
        split: seed of the split into the two
        objective: weight of the loss at each noise level, by name, such as edm; `study list
            objectives`
        preconditioning: how network and denoiser relate, by name, such as edm
        label_dropout: share of training samples without their label, for classifier-free guidance
        noise_levels: distribution of sigma in training: lognormal (by p_mean and p_std), linear or
            cosine, DDPM's schedules with uniform time
        flips: whether images are mirrored at random
    """

    data: str = "digits"
    network: NetworkSpec = field(default_factory=NetworkSpec)
    steps: int = 10000
    batch: int = 256
    lr: float = 1.5e-3
    beta2: float = 0.99
    p_mean: float = -0.6
    p_std: float = 1.3
    sigma_data: float = 0.75
    ema: float = 0.05
    seed: int = 0
    samples: float = 1.0
    split: int = 0
    objective: str = "edm"
    preconditioning: str = "edm"
    label_dropout: float = 0.0
    noise_levels: Literal["lognormal", "linear", "cosine"] = "lognormal"
    flips: bool = False

    def __post_init__(self) -> None:
        require_between(self.steps, "recipe.steps", 1, MOST_STEPS)
        require_between(self.batch, "recipe.batch", 1, MOST_BATCH)
        require(0 < self.lr < math.inf, "recipe.lr", self.lr, "a number above 0")
        require(0 < self.beta2 < 1, "recipe.beta2", self.beta2, "a number between 0 and 1")
        require(math.isfinite(self.p_mean), "recipe.p_mean", self.p_mean, "a finite number")
        require(0 < self.p_std < math.inf, "recipe.p_std", self.p_std, "a number above 0")
        require(
            0 < self.sigma_data < math.inf, "recipe.sigma_data", self.sigma_data, "a number above 0"
        )
        require(0 < self.ema < 0.28, "recipe.ema", self.ema, "a relative width between 0 and 0.28")
        require(0 <= self.seed < 2**31, "recipe.seed", self.seed, "an integer from 0 to 2³¹ − 1")
        require(
            0 < self.samples <= 1, "recipe.samples", self.samples, "a share above 0 and at most 1"
        )
        require(0 <= self.split < 2**31, "recipe.split", self.split, "an integer from 0 to 2³¹ − 1")
        require(
            self.noise_levels in ("lognormal", "linear", "cosine"),
            "recipe.noise_levels",
            self.noise_levels,
            "lognormal, linear or cosine",
        )
        require(
            0 <= self.label_dropout < 1,
            "recipe.label_dropout",
            self.label_dropout,
            "a share of at least 0, below 1",
        )
