"""The memory that a study needs, compared with the free memory before anything is allocated."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from degradations import InputError
from study.checkpoints import Base
from study.metrics import extractor_of
from study.metrics.tally import GROUPS, KEPT
from study.parallel.device import device
from study.specs import StudySpec

UNKNOWN = 2048  # features of an extractor described only by its card: as many as of Inception
# The files of a Linux control group, by version: its limit, its usage, and the part of the usage
# that can be reclaimed at once.
CGROUPS = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
LATENT_SIDE = 8  # pixels that a latent of EDM2 is decoded to, along each side
# arrays of a chunk's size during sampling: x, the estimates of main and guide, their combination
OF_CHUNK = 4
# arrays of all samples: those of main and guide, each times its weight, and their mixture
OF_ENDPOINTS = 5


class MemoryNeed(NamedTuple):
    """Memory that a study holds at once: bytes, purpose, how to reduce it, whether on a device."""

    size: int
    what: str
    instead: str
    on_device: bool = False

    def __str__(self) -> str:
        return f"{self.what}, {in_words(self.size)}"


def in_words(size: float) -> str:
    """A number of bytes, in a unit in which it can be read."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.2f} MB"


def needs(
    spec: StudySpec, shape: Sequence[int], seen: Sequence[int] | None = None
) -> list[MemoryNeed]:
    """The least memory that a study of samples of a shape holds, without networks and activations.

    seen: the shape of the decoded images, if the samples are latents.
    """
    most = max(spec.search.samples, spec.confirm.samples)
    chunk, one = min(spec.sampler.chunk, most), 4 * math.prod(shape)
    found = [
        MemoryNeed(
            OF_CHUNK * chunk * one, f"a chunk of {chunk:,} samples", "a smaller sampler.chunk", True
        )
    ]
    if spec.search.method == "probe":
        n = spec.search.samples
        found.append(
            MemoryNeed(
                OF_ENDPOINTS * n * one,
                f"endpoint probe: {n:,} samples each of main and guide",
                "fewer search.samples, or search.method gp",
            )
        )
    for name in spec.extractors:
        d = features(name, seen or shape)
        found.append(
            MemoryNeed(
                8 * d * d * GROUPS + 4 * d * min(KEPT, most),
                f"moments and kept features of {name}, {d:,} dimensions",
                "another extractor",
            )
        )
    return found


def features(extractor: str, shape: Sequence[int]) -> int:
    """The number of features of an extractor of samples, or of decoded images, of a shape."""
    if extractor.endswith(".json"):
        return UNKNOWN
    return extractor_of(extractor).dimensions or math.prod(shape)


def drawn(samples: int, shape: Sequence[int]) -> MemoryNeed:
    """The memory of samples that are kept: their chunks, and then all of them in one array."""
    return MemoryNeed(2 * 4 * samples * math.prod(shape), f"{samples:,} samples", "fewer --samples")


def needs_of(spec: StudySpec, base: Base) -> list[MemoryNeed]:
    """The memory that a study of a base holds."""
    shape = base.data.shape
    return needs(
        spec, shape, (3, *(LATENT_SIDE * side for side in shape[1:])) if base.latents else None
    )


def check_memory(spec: StudySpec, base: Base) -> None:
    """Raises InputError if a study of a base needs more memory at once than is free."""
    check(needs_of(spec, base), device())


def check(held: Sequence[MemoryNeed], where: torch.device) -> None:
    """Raises InputError if more memory is needed at once than is free, on the CPU or the device."""
    apart = where.type != "cpu"
    own = [need for need in held if apart and need.on_device]
    rest = [need for need in held if need not in own]
    for part, free, what in (
        (rest, cpu_memory(), "memory"),
        (own, device_memory(where), f"memory of {where}"),
    ):
        total = sum(need.size for need in part)
        if total > free:
            largest = max(part, key=lambda need: need.size)
            raise InputError(
                f"{what}: at least {total / 1e9:,.2f} GB are needed at once, {free / 1e9:,.2f} GB "
                f"are free; the largest part is {largest}. Use {largest.instead}."
            )


def cpu_memory() -> float:
    """The free memory in bytes, of the machine and within the limits of a container or job."""
    return min(float(psutil.virtual_memory().available), cgroup_memory())


def cgroup_memory(
    of: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> float:
    """The bytes that the control groups of this process leave to it; infinity without a limit.

    In a container the groups of the machine may not be mounted, so groups not found are skipped.
    """
    free = math.inf
    for line in of.read_text().splitlines() if of.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, (limit, used, dropped) = (
            (mounted / "memory", CGROUPS[1]) if controllers else (mounted, CGROUPS[2])
        )
        group = top / path.strip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            with suppress(OSError, ValueError):  # no such group here, or no limit: "max"
                most, held = (int((folder / name).read_text()) for name in (limit, used))
                cached = re.search(
                    rf"^{dropped} (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE
                )
                free = min(free, most - held + int(cached[1] if cached else 0))
    return free


def device_memory(where: torch.device) -> float:
    """The free memory of an accelerator in bytes; infinity if it is not reported."""
    if where.type not in ("cuda", "xpu"):
        return math.inf
    free: int = torch.get_device_module(where).mem_get_info(where)[0]
    return free
