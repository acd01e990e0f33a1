"""What makes a denoiser worse, and how two of them form a guided one. Depends on PyTorch alone.

What `exports` names is imported on first use (PEP 562): PyTorch takes a second, which `study
--help` need not wait for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from degradations.exports import *  # noqa: F403


def __getattr__(name: str) -> Any:
    from importlib import import_module

    exports = import_module("degradations.exports")
    if not name.startswith("_") and hasattr(exports, name):
        return getattr(exports, name)
    raise AttributeError(f"module 'degradations' has no attribute '{name}'")
