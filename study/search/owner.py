"""The process that owns a claim, and whether it is alive."""

import os
import socket
from collections.abc import Mapping
from typing import Any

import psutil

Owner = Mapping[str, Any]  # host, space, pid and start, as returned by `this_process`


def this_process() -> dict[str, Any]:
    """The owner recorded in the claims of this process."""
    process = psutil.Process()
    found: dict[str, Any] = {"host": socket.gethostname(), "space": _space()}
    return found | {"pid": process.pid, "start": process.create_time()}


def is_local(owner: Owner) -> bool:
    """Whether the process is, or was, on this machine and in this container, so visible here."""
    return bool(owner["host"] == socket.gethostname() and owner.get("space", _space()) == _space())


def is_dead(owner: Owner) -> bool:
    """Whether a local process has ended; a zombie, not yet reaped by its parent, has."""
    if not is_local(owner):
        return False
    try:
        process = psutil.Process(owner["pid"])
        is_another = abs(process.create_time() - owner["start"]) > 1  # that reuses the PID
        return process.status() == psutil.STATUS_ZOMBIE or is_another
    except psutil.NoSuchProcess:
        return True


def _space() -> str:
    """The PID namespace: on Linux a container has its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
