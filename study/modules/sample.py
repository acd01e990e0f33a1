"""Sampling through Lightning: a base with a pairing of its degradations, sampled and scored by `Trainer.predict`."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor
from torch.utils.data import DataLoader

from degradations import Coupling, Degradation, Denoiser, Identity, Pair
from study.metrics import Extractor, Tally, strata
from study.modules.polite import polite
from study.sampling import Churn, Source, sample_chunk

Progress = Callable[[int], Any]
Levels = tuple[float, float]


class Sampled(NamedTuple):
    """A chunk's samples, [B, …], and the labels that they were conditioned on, [B] or None."""

    samples: Tensor
    label: Tensor | None


class PairSampler(pl.LightningModule):
    """Holds a base and a pairing of its degradations and samples the guided denoiser of a weight, a chunk a batch.

    The base alone is the pairing of `none` with anything at weight 1.
    """

    def __init__(
        self,
        base: Denoiser,
        main: Degradation | None = None,
        guide: Degradation | None = None,
        coupling: Coupling = "independent",
        *,
        sigmas: Sequence[float],
        solver: str = "heun",
        churn: Churn | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.pair = Pair(base, main or Identity(), guide or Identity(), coupling)
        self.sigmas, self.solver, self.churn = list(sigmas), solver, churn
        self.task: tuple[Denoiser, Source, int] | None = None

    def assign(self, source: Source, weight: float, seed: int, interval: Levels | None = None) -> None:
        """Set what the next `predict` samples; interval: the noise levels at which the guide acts, None for all."""
        self.task = self.pair.at(weight, interval), source, seed

    def on_predict_start(self) -> None:
        """Lightning has moved the base; a degraded clone shares its parameters, but its buffers are its own."""
        assert self.task is not None
        denoiser, source, _ = self.task
        denoiser.to(self.device)
        source.device = self.device

    def predict_step(self, batch: int, batch_idx: int) -> Sampled:
        assert self.task is not None
        denoiser, source, seed = self.task
        start = source.start(seed, batch)
        return Sampled(sample_chunk(denoiser, start, self.sigmas, self.solver, self.churn), start.label)


class _EachChunk(BasePredictionWriter):
    """Hands every chunk on as it comes, so that none is kept."""

    def __init__(self, take: Callable[[int, Sampled], None], progress: Progress | None) -> None:
        super().__init__(write_interval="batch")
        self.take, self.progress = take, progress

    def write_on_batch_end(
        self, trainer: Any, module: Any, prediction: Sampled, indices: Any, batch: int, *_: Any
    ) -> None:
        self.take(batch, prediction)
        if self.progress:
            self.progress(len(prediction.samples))


def score(
    module: PairSampler, source: Source, weight: float, seed: int, extractors: Sequence[Extractor],
    progress: Progress | None = None, groups: int = 1, interval: Levels | None = None,
) -> Tally:  # fmt: skip
    """Sample and fold into a tally; a launched group (torchrun) shares the chunks, and all get the sum.

    groups: into how many the samples are divided, for intervals, by `strata`.
    """
    division = strata(source.shape[0], source.labels, groups)
    tally = Tally(extractors, division)

    def fold(chunk: int, part: Sampled) -> None:
        tally.fold(part.samples, source.indices(chunk).start, part.label)

    _predict(module, source, weight, seed, fold, progress, interval)
    if dist.is_available() and dist.is_initialized():
        found: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(found, (tally.parts, tally.kept, tally.right, tally.labelled))
        tally = sum((Tally(extractors, division, *part) for part in found), Tally(extractors, division))
    return tally


def collect(
    module: PairSampler, source: Source, weight: float, seed: int, progress: Progress | None = None,
    interval: Levels | None = None,
) -> Tensor:  # fmt: skip
    """The samples themselves, [n, …], on the CPU; of a launched group of processes, this one's share."""
    chunks: dict[int, Tensor] = {}
    _predict(module, source, weight, seed, lambda chunk, x: chunks.update({chunk: x.samples.cpu()}), progress, interval)
    return torch.cat([chunks[chunk] for chunk in sorted(chunks)])


def _predict(
    module: PairSampler, source: Source, weight: float, seed: int, take: Callable[[int, Sampled], None],
    progress: Progress | None, interval: Levels | None,
) -> None:  # fmt: skip
    module.assign(source, weight, seed, interval)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    with polite():
        trainer = pl.Trainer(
            accelerator="auto", devices=processes if processes > 1 else 1,
            strategy="ddp" if processes > 1 else "auto", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[_EachChunk(take, progress)],
        )  # fmt: skip
        chunks: DataLoader[int] = DataLoader(list(range(len(source))), batch_size=1, collate_fn=_only)  # type: ignore[arg-type]
        trainer.predict(module, chunks, return_predictions=False)


def _only(batch: list[int]) -> int:
    """A batch is one chunk."""
    return batch[0]
