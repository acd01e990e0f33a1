"""A launched group of processes (torchrun, SLURM) that share the work of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt
import torch
import torch.distributed as dist

from degradations import InputError, RunError
from study.records.task import Task

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

MEETING = timedelta(minutes=10)  # until all processes have joined
Array = npt.NDArray[Any]
PATIENCE = timedelta(days=7)  # the others wait while rank 0 draws figures or trains


@dataclass(frozen=True)
class Group:
    """This process's rank among `world` processes, and local, its number on its machine.

    The processes exchange Python objects through CPU memory, so a score depends neither on a
    device's order of summation nor on its library.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank. All processes must call it."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value, group=_members())
        return found

    def add(self, array: Array) -> Array:
        """The sum of all processes' arrays, of equal shape and type. All processes must call it."""
        if self.world == 1:
            return array
        total = torch.from_numpy(array.copy())
        dist.all_reduce(total, group=_members())
        return total.numpy()

    def broadcast(self, value: Any = None) -> Any:
        """Rank 0's value. All processes must call it."""
        if self.world == 1:
            return value
        found = [value]
        dist.broadcast_object_list(found, src=0, group=_members())
        return found[0]


@cache
def group() -> Group:
    """The group that this process was launched in, which it joins here; alone, a group of one."""
    environment = _launched()
    if environment is None or environment.world_size() == 1:
        return Group()
    rank, world = environment.global_rank(), environment.world_size()
    if not dist.is_initialized():
        address = f"tcp://{environment.main_address}:{environment.main_port}"
        under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ  # which has its own store there
        dist.init_process_group(
            "gloo", "env://" if under_torchrun else address, MEETING, world, rank
        )
    return Group(rank, world, environment.local_rank())


@cache
def _members() -> Any:
    """All processes as a group with a long timeout."""
    return dist.new_group(timeout=PATIENCE, backend="gloo")


def _launched() -> "ClusterEnvironment | None":
    if not {"TORCHELASTIC_RUN_ID", "SLURM_STEP_ID"} & os.environ.keys():
        return None  # avoids the import, which takes two seconds
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    # Without a step this is the submitted script itself, a single process, whatever is allocated.
    return (
        SLURMEnvironment() if "SLURM_STEP_ID" in os.environ and SLURMEnvironment.detect() else None
    )


class GroupEvaluator(Protocol):
    """What a group can do together: the methods of an evaluator, which `announce` each task."""

    def outcome(self, task: Task) -> Any: ...
    def samples(self, task: Task) -> Any: ...


def check_equal(about: str, value: Any) -> None:
    """Raises InputError in all processes if they do not have the same value of something."""
    found = group().gather(value)
    differ = [rank for rank, each in enumerate(found) if each != found[0]]
    if differ:
        raise InputError(
            f"{about}: rank {differ[0]} differs from rank 0; accepted: the same in all processes."
        )


def announce(method: str, task: Task) -> None:
    """Rank 0 announces to the others, which run `serve`, what they evaluate with it.

    On other ranks it does nothing.
    """
    if group().rank == 0:
        group().broadcast((method, task))


@contextmanager
def as_rank_zero() -> Iterator[None]:
    """Rank 0's part: the others evaluate with it what it evaluates in the block, then are released.

    If the block fails they are not released: they may be in the middle of an evaluation, and end
    when its process does.
    """
    yield
    group().broadcast(None)


def serve(evaluator: GroupEvaluator) -> None:
    """The part of the other ranks: evaluate what rank 0 announces, until it ends.

    Errors occur on every rank; rank 0 reports them.
    """
    while (announced := group().broadcast()) is not None:
        method, task = announced
        try:
            {"outcome": evaluator.outcome, "samples": evaluator.samples}[method](task)
        except (RunError, InputError):
            continue
