"""A lock between processes of one machine."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, wait: bool = True, shared: bool = False) -> Iterator[None]:
    """Hold a lock file for the length of the block; it is freed when the process ends, however it
    ends.

    A shared lock keeps out only those that are not. Raises BlockingIOError, unless it is to wait,
    where another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(
            file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        )
        yield
