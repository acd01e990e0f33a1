"""Sources of initial noise and labels, for a seed and a chunk of samples.

A source divides n samples into chunks of a fixed size. What it gives depends on (seed, chunk)
alone, so any number of processes can share the work.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor

from degradations import Condition, Draws, InputError

SEED_SET = 50_000  # seeds of a set, as for published FIDs: 0…49999, 50000…99999, …


class Start(NamedTuple):
    """Initial noise n ~ N(0, I), [B, …], the condition of its samples, and the chunk's draws."""

    noise: Tensor
    condition: Condition
    draws: Draws


class Source(ABC):
    """A source of initial noise and labels.

    shape: [n, …] of all samples; chunk: samples in a unit of work; labels: [n], if they are the
    same at all seeds.
    """

    labels: Tensor | None = None

    def __init__(
        self, shape: Sequence[int], chunk: int, device: torch.device | str = "cpu"
    ) -> None:
        if len(shape) < 2 or min(shape) < 1 or chunk < 1:
            raise InputError(
                f"sampler: found shape {list(shape)}, chunk {chunk}; accepted: a shape [n, …] and "
                "a chunk, all above 0."
            )
        self.shape, self.chunk, self.device = tuple(shape), chunk, device

    def __len__(self) -> int:
        return -(-self.shape[0] // self.chunk)

    def indices(self, chunk: int) -> range:
        """The indices of a chunk's samples."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, self.shape[0]))

    def on(self, device: torch.device | str) -> Self:
        """The same source, which gives its numbers on a device."""
        moved = copy(self)
        moved.device = device
        return moved

    @abstractmethod
    def start(self, seed: int, chunk: int, dtype: torch.dtype = torch.float32) -> Start:
        raise NotImplementedError


class Fixed(Source):
    """Given labels, [n] or None: sample i has label i at every seed; noise is drawn per chunk."""

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
                f"sampler: found {len(labels)} labels; accepted: as many as samples, {shape[0]}."
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
    """A generator per sample on the compute device, first for noise, then for the label.

    The rule of the EDM2 scripts. Sample i of seed set s has the seed 50 000·s + i, so sets never
    overlap (sets of more than 50 000 samples use the next multiple). Classes are drawn uniformly; 0
    classes means no label.
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
    """n labels in the exact proportions of `counts` [classes], in mixed order: int64 [n].

    Rounded by largest remainders. If n is a multiple of counts.sum(), the proportions are exactly
    those of the data. The order is fixed, and every chunk has about the same mixture.
    """
    quota = counts.double() * n / counts.sum()
    labels = quota.floor().long()
    missing = n - int(labels.sum())
    labels[(quota - labels).argsort(descending=True, stable=True)[:missing]] += 1
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    return torch.arange(len(counts)).repeat_interleave(labels)[order]
