"""Ways to make a denoiser worse, and the guided denoiser of two of them; needs PyTorch alone.

The names in `exports` are imported on first use (PEP 562), because importing PyTorch takes a second
that `study --help` does not need.
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


def __dir__() -> list[str]:
    from importlib import import_module

    exports = import_module("degradations.exports")
    return sorted(name for name in vars(exports) if not name.startswith("_"))
