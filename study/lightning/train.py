"""Training of a base denoiser."""

import copy
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from degradations import RunError
from study.checkpoints import WIDTHS, is_kept, of_recipe, save, snapshot_path, write
from study.data import Data, load_data
from study.files.atomic import replacing
from study.lightning.quiet import quiet
from study.specs import RecipeSpec
from study.training import STATE, check_recipe, exponent, objective_of, update


class _Steps(IterableDataset[int]):
    """Step numbers only: the module draws each batch from (seed, step).

    A resumed training therefore repeats no batch.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.steps))


class TrainDenoiser(pl.LightningModule):
    """Trains a denoiser by a recipe: its objective, by Adam.

    Power-function EMAs of the weights: `average`, the recipe's, and `profiles`, of which snapshots
    are kept.
    """

    def __init__(self, recipe: RecipeSpec, data: Data) -> None:
        super().__init__()
        self.recipe, self.data = recipe, data.split(recipe.samples, recipe.split)[0]
        self.objective = objective_of(recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.denoiser = of_recipe(recipe, data)
        self.average = copy.deepcopy(self.denoiser).requires_grad_(False)
        self.profiles = nn.ModuleList(copy.deepcopy(self.average) for _ in WIDTHS)
        averages = zip((self.average, *self.profiles), (recipe.ema, *WIDTHS), strict=True)
        self.averages = [(list(module.parameters()), exponent(width)) for module, width in averages]
        # a flat list, since walking the module tree at each step takes longer than the update
        self.weights = list(self.denoiser.parameters())

    def training_step(self, batch: int, index: int) -> Tensor:
        recipe, data = self.recipe, self.data
        generator = torch.Generator().manual_seed(recipe.seed * 2**31 + self.global_step)
        rows = torch.randint(len(data.samples), (recipe.batch,), generator=generator)
        y, label = data.samples[rows], None if data.labels is None else data.labels[rows]
        sigma = self.objective.sigmas(recipe.batch, generator)
        noise = torch.randn(y.shape, generator=generator)
        if label is not None and recipe.label_dropout:
            dropped = torch.rand(recipe.batch, generator=generator) < recipe.label_dropout
            label = label.masked_fill(dropped, -1)
        y, noise, sigma = y.to(self.device), noise.to(self.device), sigma.to(self.device)
        label = None if label is None else label.to(self.device)
        loss = self.objective.loss(self.denoiser, y, noise, sigma, label)
        if self.global_step % 50 == 0:
            self.log("loss", loss)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: int, batch_idx: int) -> None:
        for averages, gamma in self.averages:
            update(averages, self.weights, self.global_step, gamma)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = asdict(self.recipe)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_recipe(checkpoint.get("recipe", {}), self.recipe, "the training state in this folder")

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        # foreach gives the same numbers in two thirds of the time
        optimizer = torch.optim.Adam(
            self.denoiser.parameters(), recipe.lr, betas=(0.9, recipe.beta2), foreach=True
        )

        def rate(step: int) -> float:
            return (
                1.0
                if 2 * step < recipe.steps
                else (1 - math.cos(2 * math.pi * step / recipe.steps)) / 2
            )

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _InPlace(TorchCheckpointIO):
    """Writes a training state directly to the given file.

    Lightning's own writer leaves a copy in the temporary folder if it is killed.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        torch.save(checkpoint, path)


class _KeepState(pl.Callback):
    """Saves Lightning's training state atomically, every `every` steps and at the end.

    It is saved before a batch, since callbacks receive a batch's end before the module, which then
    still updates its averages.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step and trainer.global_step % self.every == 0:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        with replacing(self.path) as part:
            trainer.save_checkpoint(part)


class _KeepSnapshots(pl.Callback):
    """Writes the profiles at the steps whose snapshots are kept.

    They are written before a batch, like the state, and before the state, which is therefore never
    ahead of its snapshots.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any
    ) -> None:
        self._write(trainer.global_step, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._write(trainer.global_step, module)

    def _write(self, step: int, module: pl.LightningModule) -> None:
        assert isinstance(module, TrainDenoiser)
        if is_kept(step, module.recipe.steps):
            for profile, width in zip(module.profiles, WIDTHS, strict=True):
                write(snapshot_path(self.folder, step, width), profile)


class _Bar(pl.Callback):
    """A progress bar over steps with the loss; Lightning's own counts epochs instead."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc="training the base",
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


def train(
    recipe: RecipeSpec,
    folder: Path,
    made_by: str,
    progress: bool = True,
    save_every: int = 1000,
    until: int | None = None,
) -> Path:
    """Train a base by a recipe into a folder, resuming from a state there; returns the folder.

    The folder then has the averaged weights with their card, snapshots, and Lightning's state; with
    `until`, a step at which training stops early, the state and the snapshots so far. Raises
    RunError if the loss diverges.
    """
    module = TrainDenoiser(recipe, load_data(recipe.data))
    state, last = folder / STATE, min(until or recipe.steps, recipe.steps)
    with quiet():
        trainer = pl.Trainer(
            max_steps=last,
            max_epochs=-1,
            accelerator="auto",
            devices=1,
            logger=False,
            plugins=[LightningEnvironment(), _InPlace()],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            callbacks=[
                _KeepSnapshots(folder),
                _KeepState(state, save_every),
                *([_Bar()] if progress else []),
            ],
        )
        loader = DataLoader(_Steps(recipe.steps), batch_size=None)
        trainer.fit(module, loader, ckpt_path=state if state.exists() else None, weights_only=True)
    if trainer.interrupted or trainer.global_step < last:
        raise KeyboardInterrupt
    if not all(torch.isfinite(p).all() for p in module.average.parameters()):
        raise RunError(
            f"training on '{recipe.data}': diverged, the weights are not finite; try a lower "
            "recipe.lr."
        )
    if last < recipe.steps:
        return folder
    entries = asdict(recipe)
    save(
        folder,
        module.average,
        "denoiser",
        {
            "data": recipe.data,
            "sigma_data": recipe.sigma_data,
            "network": entries.pop("network"),
            "recipe": entries,
            "parameters": sum(p.numel() for p in module.average.parameters()),
            "made_by": made_by,
            "torch": torch.__version__,
        },
    )
    return folder
