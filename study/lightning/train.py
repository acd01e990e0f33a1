"""Training of a base denoiser."""

import copy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor, nn

from degradations import InputError, RunError
from study.checkpoints import WIDTHS, is_kept, of_recipe, save, snapshot_path, write
from study.data import Data
from study.files.atomic import replacing
from study.lightning.fitting import Bar, adam, described, draw, steps_of, trainer_of
from study.lightning.quiet import quiet
from study.specs import RecipeSpec
from study.training import (
    STATE,
    Uncertainty,
    check_recipe,
    exponent,
    noise_levels,
    objective_of,
    update,
)


class TrainDenoiser(pl.LightningModule):
    """Trains a denoiser by a recipe: its objective, by Adam.

    Power-function EMAs of the weights: `average`, the recipe's, and `profiles`, of which snapshots
    are kept.
    """

    def __init__(self, recipe: RecipeSpec, data: Data) -> None:
        super().__init__()
        self.recipe, self.data = recipe, data.split(recipe.samples, recipe.split)[0]
        if recipe.flips and len(data.shape) != 3:
            raise InputError(
                f"recipe.flips: found true with samples of shape {list(data.shape)}; accepted: "
                "with images alone."
            )
        self.digest = data.digest
        self.objective = objective_of(recipe.objective)
        self.sigmas = partial(noise_levels, recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.denoiser = of_recipe(recipe, data)
            self.uncertainty = Uncertainty() if self.objective.learns else None
        self.average = copy.deepcopy(self.denoiser).requires_grad_(False)
        self.profiles = nn.ModuleList(copy.deepcopy(self.average) for _ in WIDTHS)
        averages = zip((self.average, *self.profiles), (recipe.ema, *WIDTHS), strict=True)
        self.averages = [(list(module.parameters()), exponent(width)) for module, width in averages]
        # a flat list, since walking the module tree at each step takes longer than the update
        self.weights = list(self.denoiser.parameters())

    def training_step(self, batch: int, index: int) -> Tensor:
        recipe, step = self.recipe, self.global_step
        y, label, sigma, noise, generator = draw(recipe, self.data, self.sigmas, step)
        if label is not None and recipe.label_dropout:
            dropped = torch.rand(recipe.batch, generator=generator) < recipe.label_dropout
            label = label.masked_fill(dropped, -1)
        if recipe.flips:
            flipped = torch.rand(recipe.batch, generator=generator) < 0.5
            y = torch.where(flipped[:, None, None, None], y.flip(-1), y)
        y, noise, sigma = y.to(self.device), noise.to(self.device), sigma.to(self.device)
        label = None if label is None else label.to(self.device)
        u = None if self.uncertainty is None else self.uncertainty(sigma)
        loss = self.objective.loss(self.denoiser, y, noise, sigma, label, recipe.sigma_data, u)
        if self.global_step % 50 == 0:
            self.log("loss", loss)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: int, batch_idx: int) -> None:
        for averages, gamma in self.averages:
            update(averages, self.weights, self.global_step, gamma)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = asdict(self.recipe)
        checkpoint["data_sha256"] = self.digest

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        what = "the training state in this folder"
        check_recipe(checkpoint.get("recipe", {}), self.recipe, what)
        if checkpoint.get("data_sha256", self.digest) != self.digest:
            raise InputError(
                f"{what} is of other content of '{self.recipe.data}'; give another --out, or "
                "--retrain to discard it."
            )

    def configure_optimizers(self) -> Any:
        learned = [self.denoiser, *([self.uncertainty] if self.uncertainty else [])]
        return adam([each for one in learned for each in one.parameters()], self.recipe)


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


def train(
    recipe: RecipeSpec,
    data: Data,
    folder: Path,
    made_by: str,
    progress: bool = True,
    save_every: int = 1000,
    until: int | None = None,
) -> Path:
    """Train a base by a recipe on its data into a folder, which is returned.

    It is resumed from a state there.

    The folder then has the averaged weights with their card, snapshots, and Lightning's state; with
    `until`, a step at which training stops early, the state and the snapshots so far. Raises
    RunError if the loss diverges.
    """
    module = TrainDenoiser(recipe, data)
    state, last = folder / STATE, min(until or recipe.steps, recipe.steps)
    with quiet():
        keep = [_KeepSnapshots(folder), _KeepState(state, save_every)]
        bar = [Bar("training the base")] if progress else []
        trainer = trainer_of(last, [*keep, *bar], _InPlace())
        trainer.fit(
            module,
            steps_of(recipe.steps),
            ckpt_path=state if state.exists() else None,
            weights_only=True,
        )
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
            **described(data),
            "sigma_data": recipe.sigma_data,
            "network": entries.pop("network"),
            "recipe": entries,
            "parameters": sum(p.numel() for p in module.average.parameters()),
            "made_by": made_by,
            "torch": torch.__version__,
        },
    )
    return folder
