"""Where all randomness of a sampling comes from."""

import hashlib

import torch
from torch import Tensor

from degradations.errors import Refused


class Draws:
    """Named streams of random numbers, determined by (seed, chunk, role) and by how often each was used.

    A draw is keyed by (seed, chunk, role, stream, count), where count numbers the draws of its stream. So a result
    depends neither on which process computed the chunk nor on what other streams were used for: a guide that is not
    evaluated takes nothing from the main. A chunk is a fixed group of samples, the unit of work.

    On a CPU PyTorch's generator keeps 32 bits of the key: two draws coincide with probability 2⁻³².
    """

    def __init__(self, seed: int, chunk: int = 0, role: str = "main") -> None:
        self.seed, self.chunk, self.role = seed, chunk, role
        self._counts: dict[str, int] = {}
        self._children: dict[str, Draws] = {}

    def child(self, role: str) -> "Draws":
        """The draws of a part of this role; the same object whenever it is asked for."""
        if role not in self._children:
            self._children[role] = Draws(self.seed, self.chunk, f"{self.role}/{role}")
        return self._children[role]

    def twin(self) -> "Draws":
        """Draws that will repeat what these will give: same streams, same counts."""
        twin = Draws(self.seed, self.chunk, self.role)
        twin._counts = dict(self._counts)
        twin._children = {role: child.twin() for role, child in self._children.items()}
        return twin

    def join(self, twin: "Draws") -> None:
        """Take up what a twin has used, so that no later draw repeats it."""
        for stream, count in twin._counts.items():
            self._counts[stream] = max(count, self._counts.get(stream, 0))
        for role, child in twin._children.items():
            self.child(role).join(child)

    @property
    def unused(self) -> bool:
        """Whether nothing has been drawn, here or by a child."""
        return not self._counts and all(child.unused for child in self._children.values())

    def normal(self, stream: str, like: Tensor) -> Tensor:
        """n ~ N(0, I), of the shape, device and dtype of `like`."""
        return torch.randn(
            like.shape, generator=self.generator(stream, like.device), device=like.device, dtype=like.dtype
        )

    def uniform(self, stream: str, like: Tensor) -> Tensor:
        """u ~ U[0, 1), of the shape and device of `like`, float32."""
        return torch.rand(like.shape, generator=self.generator(stream, like.device), device=like.device)

    def generator(self, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
        """The generator of the next draw of a stream."""
        count = self._counts.get(stream, 0)
        self._counts[stream] = count + 1
        key = f"{self.seed}|{self.chunk}|{self.role}|{stream}|{count}"
        digest = hashlib.blake2b(key.encode(), digest_size=7).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))


def required(draws: Draws | None, by: str) -> Draws:
    """The draws, for a kind that cannot do without. Raises Refused where there are none."""
    if draws is None:
        raise Refused(f"{by} draws random numbers: call the denoiser with draws=Draws(seed).")
    return draws
