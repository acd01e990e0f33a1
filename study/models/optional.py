"""Packages that only some studies need, installed as extras of this one."""

import importlib
from types import ModuleType

from degradations import InputError


def optional(package: str, extra: str) -> ModuleType:
    """An optional package, imported.

    Raises InputError with the command that installs its extra, if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise InputError(
            f"the package {package} is not installed; install it by "
            f"`pip install 'degradation-study[{extra}]'`."
        ) from None
