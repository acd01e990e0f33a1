"""Signals that end a process, as what Ctrl-C is: an exception that passes through everything that
cleans up."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """KeyboardInterrupt for SIGTERM and SIGHUP too, in the block; what is ignored, as nohup does
    SIGHUP, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler of signals."""
    raise KeyboardInterrupt


def end_with_parent() -> None:
    """Have this process terminated when its standard input closes: a pipe from its parent, which
    ends as that does."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
