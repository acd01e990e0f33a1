"""Where initial noise and labels come from: a source gives, for a seed and a chunk, what its
samples start from.

A source divides n samples into chunks of a fixed size. What it gives depends on (seed, chunk)
alone, so the work can be shared by any number of processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from degradations import Condition, Draws, InputError

SEED_SET = 50_000  # seeds of a set, as published FIDs have them: 0…49999, 50000…99999, …


class Start(NamedTuple):
    """n ~ N(0, I) of [B, …], what its samples are conditioned on, and the draws of the chunk."""

    noise: Tensor
    condition: Condition
    draws: Draws


class Source(ABC):
    """shape: [n, …] of all samples; chunk: samples in a unit of work; labels: [n] if all seeds have
    the same."""

    labels: Tensor | None = None

    def __init__(
        self, shape: Sequence[int], chunk: int, device: torch.device | str = "cpu"
    ) -> None:
        if len(shape) < 2 or min(shape) < 1 or chunk < 1:
            raise InputError(
                "sampler: a shape [n, …] and a chunk, all above 0, are wanted; found "
                f"{list(shape)}, {chunk}."
            )
        self.shape, self.chunk, self.device = tuple(shape), chunk, device

    def __len__(self) -> int:
        return -(-self.shape[0] // self.chunk)

    def indices(self, chunk: int) -> range:
        """The indices of a chunk's samples."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, self.shape[0]))

    @abstractmethod
    def start(self, seed: int, chunk: int, dtype: torch.dtype = torch.float32) -> Start:
        raise NotImplementedError


class Fixed(Source):
    """Given labels, [n] or None: the i-th sample has the i-th label at every seed; noise is drawn
    chunk by chunk."""

    def __init__(
        self,
        shape: Sequence[int],
        chunk: int,
        labels: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(shape, chunk, device)
        if labels is not None and len(labels) != shape[0]:
            raise InputError(
                f"sampler: {shape[0]} samples want as many labels, found {len(labels)}."
            )
        self.labels = labels

    def start(self, seed: int, chunk: int, dtype: torch.dtype = torch.float32) -> Start:
        indices = self.indices(chunk)
        draws = Draws(seed, chunk)
        like = torch.empty(len(indices), *self.shape[1:], device=self.device, dtype=dtype)
        label = (
            None
            if self.labels is None
            else self.labels[indices.start : indices.stop].to(self.device)
        )
        return Start(draws.normal("initial noise", like), Condition(label), draws)


class PerSample(Source):
    """A generator per sample on the compute device, noise drawn first, then the label: the rule of
    the EDM2 scripts.

    Sample i of seed set s has the seed 50 000·s + i, so that sets do not overlap whatever their
    size (sets of more than 50 000 take the next multiple). Classes are drawn uniformly; 0 classes
    means no label.
    """

    def __init__(
        self, shape: Sequence[int], chunk: int, classes: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(shape, chunk, device)
        self.classes = classes

    def start(self, seed: int, chunk: int, dtype: torch.dtype = torch.float32) -> Start:
        noise, labels = [], []
        first = seed * SEED_SET * -(-self.shape[0] // SEED_SET)
        for index in self.indices(chunk):
            generator = torch.Generator(self.device).manual_seed(first + index)
            noise.append(torch.randn(self.shape[1:], generator=generator, device=self.device))
            if self.classes:
                labels.append(
                    torch.randint(self.classes, (), generator=generator, device=self.device)
                )
        return Start(
            torch.stack(noise).to(dtype),
            Condition(torch.stack(labels) if labels else None),
            Draws(seed, chunk),
        )


def stratified(counts: Tensor, n: int) -> Tensor:
    """n labels in the exact proportions of `counts` [classes] (largest remainders), interleaved:
    int64 [n].

    Where n is a multiple of counts.sum() the proportions are those of the data to the last sample.
    The order is fixed, so that every chunk holds about the same mixture.
    """
    quota = counts.double() * n / counts.sum()
    labels = quota.floor().long()
    missing = n - int(labels.sum())
    labels[(quota - labels).argsort(descending=True, stable=True)[:missing]] += 1
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    return torch.arange(len(counts)).repeat_interleave(labels)[order]
