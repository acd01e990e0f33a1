"""Which plug-ins are loaded: Python files that a config names, and packages that are installed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from degradations.errors import InputError

MOST_BYTES = 2**24
LOADED: dict[str, str] = {}  # the digest of each, by its path or name


class Permission:
    """Whether plug-ins that a config names may run, as the user alone can say."""

    granted = False


def content_of(path: Path) -> tuple[bytes, str]:
    """The content of a plug-in and its SHA-256. Raises InputError unless it is a Python file."""
    if path.suffix != ".py":
        raise InputError(f"plugins: found {path}; accepted: Python files, .py.")
    from study.files.regular import check_regular  # late: it imports PyTorch

    check_regular(path, MOST_BYTES)
    content = path.read_bytes()
    return content, hashlib.sha256(content).hexdigest()


def require_permission(digests: Mapping[Path, str]) -> None:
    """Raises InputError, naming files and hashes, for plug-ins that may not run."""
    if digests and not Permission.granted:
        named = ", ".join(f"{path} (SHA-256 {digest})" for path, digest in digests.items())
        raise InputError(
            f"plugins: the config names {named}; nothing was run. A plug-in is a program: read it, "
            "then allow it by --allow-plugins."
        )
