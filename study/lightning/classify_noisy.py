"""Training of a classifier of noisy samples, for classifier guidance."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from degradations import RunError
from degradations.denoiser import column
from study.checkpoints import build_classifier, save
from study.checkpoints.classifiers import KIND
from study.data import Data
from study.lightning.fitting import Bar, adam, described, draw, steps_of, trainer_of
from study.lightning.quiet import quiet
from study.specs import RecipeSpec

LOWEST, HIGHEST = 0.002, 80.0  # noise levels, which samplers visit from one end to the other
SHOWN = (0.01, 0.1, 0.3, 1.0, 3.0)  # noise levels of which the card states the accuracy


class TrainNoisyClassifier(pl.LightningModule):
    """Trains a classifier by a recipe: cross-entropy at noise levels with uniform ln σ, by Adam.

    The recipe's objective, averages and label dropout are not used. (Dhariwal & Nichol 2021,
    § 4.1)
    """

    def __init__(self, recipe: RecipeSpec, data: Data) -> None:
        super().__init__()
        self.recipe, self.data = recipe, data.split(recipe.samples, recipe.split)[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.classifier = build_classifier(recipe, data)

    def training_step(self, batch: int, index: int) -> Tensor:
        y, label, sigma, noise, _ = draw(self.recipe, self.data, log_uniform, self.global_step)
        assert label is not None  # of data with classes
        x = (y + column(sigma, y) * noise).to(self.device)
        logs = self.classifier(x, sigma.to(self.device))
        loss = nn.functional.nll_loss(logs, label.to(self.device))
        if self.global_step % 50 == 0:
            self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return adam(self.classifier.parameters(), self.recipe)


def log_uniform(n: int, generator: torch.Generator) -> Tensor:
    """n noise levels with uniform ln σ."""
    u = torch.rand(n, generator=generator)
    return (math.log(LOWEST) + u * math.log(HIGHEST / LOWEST)).exp()


def train_classifier(
    recipe: RecipeSpec, data: Data, folder: Path, made_by: str, progress: bool = True
) -> Path:
    """Train a classifier by a recipe and save weights and card in a folder, which is returned.

    The card states the accuracy at several noise levels, on what was held out or, if nothing was,
    on what was trained on. Raises InputError as `build_classifier` does, and RunError if the loss
    diverges.
    """
    module = TrainNoisyClassifier(recipe, data)
    with quiet():
        bar = [Bar("training the classifier")] if progress else []
        trainer = trainer_of(recipe.steps, bar)
        trainer.fit(module, steps_of(recipe.steps))
    if trainer.interrupted or trainer.global_step < recipe.steps:
        raise KeyboardInterrupt
    network = module.classifier.cpu().eval().requires_grad_(False)
    if not all(torch.isfinite(p).all() for p in network.parameters()):
        raise RunError(
            f"training on '{recipe.data}': diverged, the weights are not finite; try a lower "
            "recipe.lr."
        )
    held_out = data.split(recipe.samples, recipe.split)[1]
    seen = held_out if len(held_out.samples) else data
    entries = asdict(replace(recipe, label_dropout=0.0))
    save(
        folder,
        network,
        KIND,
        {
            "data": recipe.data,
            **described(data),
            "network": entries.pop("network"),
            "recipe": entries,
            "sigma_min": LOWEST,
            "sigma_max": HIGHEST,
            "accuracy_on": "held-out" if len(held_out.samples) else "trained-on",
            "accuracy": {f"{sigma:g}": _accuracy(network, seen, sigma) for sigma in SHOWN},
            "made_by": made_by,
            "torch": torch.__version__,
        },
    )
    return folder


@torch.inference_mode()
def _accuracy(network: nn.Module, data: Data, sigma: float) -> float:
    """The share of noised samples whose class is found."""
    noise = torch.randn(data.samples.shape, generator=torch.Generator().manual_seed(0))
    found = network(data.samples[:] + sigma * noise, sigma).argmax(dim=1)
    return round(float((found == data.labels).double().mean()), 4)
