"""Sampling through Lightning: a base with a pairing, sampled and scored by `Trainer.predict`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor
from torch.utils.data import DataLoader

from degradations import Coupling, Degradation, Denoiser, Identity, InputError, Pair, RunError
from study.lightning.quiet import quiet
from study.metrics import Moments, Tally
from study.parallel.device import device
from study.parallel.group import group
from study.sampling import Churn, OnSamples, Source, sample_chunk

See = Callable[[Tensor], Tensor]


class Job(NamedTuple):
    """What to sample of a pairing, at a weight, by a rule, from a source with a seed.

    chunks: those of the source that are sampled; None: all.
    """

    source: Source
    seed: int
    weight: float = 1.0
    rule: str = "constant"
    chunks: range | None = None


class Sampled(NamedTuple):
    """A chunk's samples, [B, …], and the labels that they were conditioned on, [B] or None."""

    samples: Tensor
    label: Tensor | None


class PairSampler(pl.LightningModule):
    """Samples the guided denoiser of a job, from a base and a pairing of its degradations.

    One chunk is one batch. The base alone is the pairing of `none` with any guide at weight 1.
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
        # Not a submodule: Lightning moves its module to the CPU after every prediction, but the
        # base is shared.
        self.pair = Pair(base, main or Identity(), guide or Identity(), coupling)
        self.sigmas, self.solver, self.churn = list(sigmas), solver, churn
        self.assigned: tuple[Job, Denoiser] | None = None

    def assign(self, job: Job) -> None:
        """Set the job of the next `predict`."""
        self.assigned = job, self.pair.at(job.weight, job.rule)

    def on_predict_start(self) -> None:
        """Move main and guide, and the tensors that they share with the base, to this device."""
        assert self.assigned is not None
        job, denoiser = self.assigned
        denoiser.to(self.device)
        self.assigned = job._replace(source=job.source.on(self.device)), denoiser

    def predict_step(self, batch: int, batch_idx: int) -> Sampled:
        assert self.assigned is not None
        job, denoiser = self.assigned
        start = job.source.start(job.seed, batch)
        samples = sample_chunk(denoiser, start, self.sigmas, self.solver, self.churn)
        return Sampled(samples, start.condition.label)


class _EachChunk(BasePredictionWriter):
    """Passes on each chunk when it is finished, so that none is kept."""

    def __init__(self) -> None:
        super().__init__(write_interval="batch")

    def pass_to(self, take: Callable[[int, Sampled], None], progress: OnSamples | None) -> None:
        """Set the receivers of the next `predict`."""
        self.take, self.progress = take, progress

    def write_on_batch_end(
        self, trainer: Any, module: Any, prediction: Sampled, indices: Any, batch: int, *_: Any
    ) -> None:
        self.take(batch, prediction)
        if self.progress:
            self.progress(len(prediction.samples))


def score(
    module: PairSampler,
    job: Job,
    tally: Tally,
    progress: OnSamples | None = None,
    see: See | None = None,
) -> Tally:
    """Sample and fold into a tally; a launched group (torchrun, SLURM) shares the chunks.

    All processes of a group get the sum. see: decodes samples to images, if they are latents.
    Raises RunError, in all processes of a group, if one of them fails.
    """

    def fold(chunk: int, part: Sampled) -> None:
        seen = see(part.samples) if see else part.samples
        tally.fold(seen, job.source.indices(chunk).start, part.label)

    _raise_everywhere(_predict(module, job, fold, progress))
    return _sum(tally)


def collect(module: PairSampler, job: Job, progress: OnSamples | None = None) -> Tensor:
    """The samples, [n, …], on the CPU, in all processes of a launched group."""
    chunks: dict[int, Tensor] = {}

    def keep(chunk: int, part: Sampled) -> None:
        chunks[chunk] = part.samples.cpu()

    _raise_everywhere(_predict(module, job, keep, progress))
    everyone = {chunk: x for part in group().gather(chunks) for chunk, x in part.items()}
    return torch.cat([everyone[chunk] for chunk in sorted(everyone)])


def _raise_everywhere(problem: tuple[type[Exception], str] | None) -> None:
    """Raise the error of one process of a group in all of them."""
    for kind, message in filter(None, group().gather(problem)):
        raise kind(message)


def _sum(tally: Tally) -> Tally:
    """The sum of all processes' tallies, in all of them.

    Moments are added in place, so memory does not grow.
    """
    together = group()
    if together.world == 1:
        return tally
    mine = {name: (len(parts), len(parts[0].total)) for name, parts in tally.parts.items()}
    shapes = {name: shape for each in together.gather(mine) for name, shape in each.items()}
    parts = {}
    for name, (count, d) in shapes.items():
        parts[name] = tally.parts.get(name) or [Moments.zeros(d) for _ in range(count)]
        for part in parts[name]:
            part.sum_over(together.add)
    rest = together.gather((tally.kept, tally.correct, tally.labelled))
    others = [Tally(tally.extractors, tally.groups, {}, *each) for each in rest]
    return sum(others, Tally(tally.extractors, tally.groups, parts))


def _predict(
    module: PairSampler, job: Job, take: Callable[[int, Sampled], None], progress: OnSamples | None
) -> tuple[type[Exception], str] | None:
    """Sample this process's chunks, every world-th of them.

    Returns the error's type and message if this process failed, else None.
    """
    together = group()
    module.assign(job)
    chunks = range(len(job.source)) if job.chunks is None else job.chunks
    mine = list(chunks)[together.rank :: together.world]
    shown = (lambda n: progress(n * together.world)) if progress else None
    where = device()
    try:
        with quiet(), _in_background(take) as later:
            trainer, each_chunk = _trainer(where)
            each_chunk.pass_to(later, shown)
            loader: DataLoader[int] = DataLoader(
                mine,  # type: ignore[arg-type]
                batch_size=1,
                collate_fn=_only,
            )
            if mine:
                trainer.predict(module, loader, return_predictions=False)
    # returned, not raised: otherwise the other processes would wait for ever
    except (RunError, InputError) as error:
        _trainer.cache_clear()
        return type(error), str(error)
    except BaseException:
        _trainer.cache_clear()  # an interrupted trainer is not used again
        raise
    return None


@cache
def _trainer(where: torch.device) -> tuple[pl.Trainer, _EachChunk]:
    """A trainer for all sampling on a device, cached.

    Creating one takes as long as sampling a few images.
    """
    each_chunk = _EachChunk()
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1 if where.index is None else [where.index],
        plugins=[LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[each_chunk],
    )
    return trainer, each_chunk


@contextmanager
def _in_background(act: Callable[[int, Sampled], None]) -> Iterator[Callable[[int, Sampled], None]]:
    """Processes finished samples (decoding, features) while the next ones are sampled.

    On an accelerator this uses a thread and a stream of its own, at most one chunk ahead, so that
    memory is bounded; on a CPU, where it would compete with sampling, it runs at once.
    """
    waiting: list[Future[None]] = []
    stream = cache(torch.Stream)  # one per device
    with ThreadPoolExecutor(1) as thread:

        def later(chunk: int, part: Sampled) -> None:
            if not _overlaps(part.samples.device):
                act(chunk, part)
                return
            if waiting:
                waiting.pop().result()
            waiting.append(thread.submit(beside, chunk, part, _now(part.samples.device)))

        @torch.inference_mode()
        def beside(chunk: int, part: Sampled, ready: torch.Event | None) -> None:
            if ready is None:
                act(chunk, part)
                return
            with stream(part.samples.device) as own:
                own.wait_event(ready)
                act(chunk, part)
                own.synchronize()

        yield later
        for last in waiting:
            last.result()


def _overlaps(where: torch.device) -> bool:
    """Whether a device computes while the CPU does something else."""
    return where.type != "cpu"


def _now(where: torch.device) -> torch.Event | None:
    """The end of the work submitted to a device so far.

    None on a CPU, which has no such queue.
    """
    return None if where.type == "cpu" else torch.accelerator.current_stream(where).record_event()


def _only(batch: list[int]) -> int:
    """A batch is one chunk."""
    return batch[0]
