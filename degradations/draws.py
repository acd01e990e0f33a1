"""The source of all random numbers in sampling, and what else belongs to one trajectory."""

import hashlib
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from degradations.errors import InputError

T = TypeVar("T")


class Trajectory:
    """What lasts as long as one trajectory: its present step, and what denoisers remember in it.

    step: the number of the step, from 0; sigma, sigma_next: the noise levels that it leads from and
    to, NaN outside a sampler. A memory begins anew with every trajectory, so nothing of it is seen
    by other samples, chunks or processes.
    """

    def __init__(self) -> None:
        self.step, self.sigma, self.sigma_next = 0, math.nan, math.nan
        self._memories: dict[Any, Any] = {}

    def at(self, step: int, sigma: float, sigma_next: float) -> None:
        """Begin a step."""
        self.step, self.sigma, self.sigma_next = step, sigma, sigma_next

    def memory(self, owner: Any, begin: Callable[[], T]) -> T:
        """What an owner remembers; `begin` makes it when it is asked for the first time."""
        if owner not in self._memories:
            self._memories[owner] = begin()
        found: T = self._memories[owner]
        return found


class Draws:
    """Named streams of random numbers, determined by (seed, chunk, role) and the count of draws.

    A draw is keyed by (seed, chunk, role, stream, count), where count numbers the draws of its
    stream. A result therefore depends neither on which process computed the chunk nor on the other
    streams: a guide that is not evaluated leaves the main's numbers unchanged. A chunk is a fixed
    group of samples, the unit of work.

    On a CPU PyTorch's generator keeps 32 bits of the key: two draws coincide with probability 2⁻³².
    """

    def __init__(self, seed: int, chunk: int = 0, role: str = "main") -> None:
        self.seed, self.chunk, self.role = seed, chunk, role
        self.trajectory = Trajectory()  # the same for all parts of these draws
        self._counts: dict[str, int] = {}
        self._children: dict[str, Draws] = {}
        self._extra: Draws | None = None  # what followers draw in excess of these
        # of a follower: the draws that it follows, and a twin that repeats them
        self._lead: tuple[Draws, Draws] | None = None

    def child(self, role: str) -> "Draws":
        """The draws of a part of this role; the same object at every call with the same role."""
        if role not in self._children:
            self._children[role] = (
                self._part(f"{self.role}/{role}")
                if self._lead is None
                else self._lead[0].child(role).follower(self._lead[1].child(role))
            )
        return self._children[role]

    def twin(self) -> "Draws":
        """A copy that repeats the numbers that these draws give next: same streams, same counts."""
        twin = self._part(self.role)
        twin._counts = dict(self._counts)
        twin._children = {role: child.twin() for role, child in self._children.items()}
        twin._extra = self._extra and self._extra.twin()
        twin._lead = self._lead and (self._lead[0].twin(), self._lead[1].twin())
        return twin

    def follower(self, since: "Draws") -> "Draws":
        """Draws for a second denoiser of the same evaluation, which repeat what these gave in it.

        since: a twin of these draws, made when the evaluation began. In each stream they repeat
        what these have given since then. Numbers in excess of that are used nowhere else: they come
        from a role of their own, or, for a stream that these have never used, from this role (a
        stream that is used at all is used at every evaluation). A follower does not change these
        draws.
        """
        follower = self._part(self.role)
        follower._lead = self, since
        return follower

    def part(self, index: int) -> "Draws":
        """The draws of one of several denoisers of this role, taken for all before any draws.

        Streams of its own; of a follower, another one that repeats the same numbers.
        """
        return self.child(f"part {index}") if self._lead is None else self.twin()

    @property
    def unused(self) -> bool:
        """Whether nothing has been drawn from these draws, a child or a follower."""
        parts = [*self._children.values(), *filter(None, [self._extra])]
        return not self._counts and all(part.unused for part in parts)

    def normal(self, stream: str, like: Tensor) -> Tensor:
        """n ~ N(0, I), of the shape, device and dtype of `like`."""
        return torch.randn(
            like.shape,
            generator=self.generator(stream, like.device),
            device=like.device,
            dtype=like.dtype,
        )

    def uniform(self, stream: str, like: Tensor) -> Tensor:
        """u ~ U[0, 1), of the shape and device of `like`, float32."""
        return torch.rand(
            like.shape, generator=self.generator(stream, like.device), device=like.device
        )

    def generator(self, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
        """The generator of the next draw of a stream."""
        key = f"{self.seed}|{self.chunk}|{self._next(stream)}"
        digest = hashlib.blake2b(key.encode(), digest_size=7).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))

    def _next(self, stream: str) -> str:
        """The role, stream and count of the next draw of a stream."""
        count = self._count(stream)
        if self._lead is None:
            return f"{self.role}|{stream}|{count}"
        followed, again = self._lead
        if again._counts.get(stream, 0) < followed._counts.get(stream, 0):
            return again._next(stream)
        role = followed._beyond.role if stream in followed._counts else self.role
        return f"{role}|{stream}|{followed._beyond._count(stream)}"

    def _count(self, stream: str) -> int:
        count = self._counts.get(stream, 0)
        self._counts[stream] = count + 1
        return count

    @property
    def _beyond(self) -> "Draws":
        """The draws that count what followers take in excess of these.

        They belong to the followed draws because a follower lasts for one evaluation only.
        """
        if self._lead is not None:
            return self._lead[0]._beyond._beyond
        if self._extra is None:
            self._extra = self._part(f"{self.role}/extra")
        return self._extra

    def _part(self, role: str) -> "Draws":
        part = Draws(self.seed, self.chunk, role)
        part.trajectory = self.trajectory
        return part


def required(draws: Draws | None, by: str) -> Draws:
    """The draws, for a kind that needs them. Raises InputError if they are None."""
    if draws is None:
        raise InputError(
            f"{by}: found no random numbers; call the denoiser with draws=Draws(seed)."
        )
    return draws
