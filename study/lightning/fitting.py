"""What every training of a recipe shares: its steps, batches, optimizer and progress bar."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from study.data import Data
from study.specs import RecipeSpec


class _Steps(IterableDataset[int]):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.steps))


def steps_of(steps: int) -> "DataLoader[int]":
    """Step numbers only: a module draws each batch from (seed, step).

    A resumed training therefore repeats no batch.
    """
    return DataLoader(_Steps(steps), batch_size=None)


class Batch(NamedTuple):
    """Clean samples y, [B, …], their labels, [B] or None, noise levels and n ~ N(0, I).

    generator: gives the numbers after those.
    """

    y: Tensor
    label: Tensor | None
    sigma: Tensor
    noise: Tensor
    generator: torch.Generator


def draw(
    recipe: RecipeSpec, data: Data, sigmas: Callable[[int, torch.Generator], Tensor], step: int
) -> Batch:
    """The batch of a step, determined by it and the recipe's seed; sigmas: draws noise levels."""
    generator = torch.Generator().manual_seed(recipe.seed * 2**31 + step)
    rows = torch.randint(len(data.samples), (recipe.batch,), generator=generator)
    y, label = data.samples[rows], None if data.labels is None else data.labels[rows]
    sigma = sigmas(recipe.batch, generator)
    return Batch(y, label, sigma, torch.randn(y.shape, generator=generator), generator)


def described(data: Data) -> dict[str, Any]:
    """What the card of a network says of data from outside, which others may not have."""
    if not data.digest:
        return {}
    return {"data_sha256": data.digest, "shape": list(data.shape), "classes": data.classes}


def adam(parameters: Iterable[nn.Parameter], recipe: RecipeSpec) -> Any:
    """Adam with the recipe's learning rate: constant for the first half, then a cosine to zero."""
    # foreach gives the same numbers in two thirds of the time
    optimizer = torch.optim.Adam(parameters, recipe.lr, betas=(0.9, recipe.beta2), foreach=True)

    def rate(step: int) -> float:
        return (
            1.0
            if 2 * step < recipe.steps
            else (1 - math.cos(2 * math.pi * step / recipe.steps)) / 2
        )

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def trainer_of(steps: int, callbacks: Sequence[pl.Callback], *plugins: Any) -> pl.Trainer:
    """A trainer of one device that writes nothing on its own."""
    return pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="auto",
        devices=1,
        logger=False,
        plugins=[LightningEnvironment(), *plugins],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=list(callbacks),
    )


class Bar(pl.Callback):
    """A progress bar over steps with the loss; Lightning's own counts epochs instead."""

    def __init__(self, text: str) -> None:
        self.text = text

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc=self.text,
            unit=" steps",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 20,
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any
    ) -> None:
        loss = trainer.callback_metrics.get("loss")
        if loss is not None and trainer.global_step % 50 == 0:
            self.bar.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        self.bar.update()

    def on_train_end(self, *args: Any) -> None:
        self.bar.close()
