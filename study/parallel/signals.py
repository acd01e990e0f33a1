"""Signals that end a process are raised as KeyboardInterrupt, so that all cleanup runs."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 15.0  # seconds between the signals to a process that should end


class _Postponed:
    """How many blocks postpone interrupts, and whether one has come meanwhile."""

    blocks = 0
    pending = False


@contextmanager
def interruptible() -> Iterator[None]:
    """In the block SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does.

    Signals that are ignored, such as SIGHUP under nohup, stay ignored.
    """
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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Postpone the interrupts of `interruptible` until the block has ended.

    For short blocks whose steps belong together, such as a record and the note of who ends it.
    """
    if threading.current_thread() is not threading.main_thread():  # signals never interrupt it
        yield
        return
    _Postponed.blocks += 1
    try:
        yield
    finally:
        _Postponed.blocks -= 1
        if _Postponed.pending and not _Postponed.blocks:
            _Postponed.pending = False
            raise KeyboardInterrupt


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler that raises KeyboardInterrupt, or postpones it in `uninterrupted`."""
    if _Postponed.blocks:
        _Postponed.pending = True
    else:
        raise KeyboardInterrupt


def end_with_parent() -> None:
    """Terminate this process when its standard input, a pipe from its parent, closes.

    The pipe closes when the parent ends. The signal is sent again until the process has ended: an
    exception that a handler raises within a finaliser or a callback of an import is lost.
    """

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(AGAIN)

    threading.Thread(target=wait, daemon=True).start()
