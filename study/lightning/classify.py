"""Training of the classifier whose features `fd_digits` compares."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from study.checkpoints import save
from study.data import load_data
from study.lightning.quiet import quiet
from study.metrics.digits_classifier import DigitsNetwork

HELD_OUT, EPOCHS, SEED = 360, 40, 0


class TrainClassifier(pl.LightningModule):
    """Trains the classifier: cross-entropy, AdamW, a cosine decay of the learning rate to zero.

    No augmentation: features trained to ignore shifts also ignored much of the effect of input
    noise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = DigitsNetwork()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, label = batch
        return nn.functional.cross_entropy(self.network(x), label)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 2e-3, weight_decay=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)]


def train_classifier(folder: Path, made_by: str) -> Path:
    """Train on 1437 digits, test on the 360 held out, and save weights and card in a folder.

    Returns the folder.
    """
    data = load_data("digits")
    assert data.labels is not None
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        order = torch.randperm(len(data.samples))
        test, rest = order[:HELD_OUT], order[HELD_OUT:]
        module = TrainClassifier()
        loader = DataLoader(
            TensorDataset(data.samples[rest], data.labels[rest]), batch_size=64, shuffle=True
        )
        trainer = pl.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            plugins=[LightningEnvironment()],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, loader)
    network = module.network.eval()
    with torch.inference_mode():
        right = int((network(data.samples[test]).argmax(1) == data.labels[test]).sum())
    save(
        folder,
        network,
        "classifier",
        {
            "data": "digits",
            "features": 64,
            "trained_on": len(rest),
            "held_out": HELD_OUT,
            "test_accuracy": right / HELD_OUT,
            "epochs": EPOCHS,
            "seed": SEED,
            "made_by": made_by,
            "torch": torch.__version__,
        },
    )
    return folder
