"""1797 real images of handwritten digits, 8×8."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from study.data.data import Data


def digits() -> Data:
    """scikit-learn's `load_digits`: [1797, 1, 8, 8] in [−1, 1] (there 0…16), ten classes."""
    table = torch.from_numpy(_table())
    return Data(
        "digits",
        table[:, :-1].float().reshape(-1, 1, 8, 8) / 8 - 1,
        table[:, -1].long(),
        classes=10,
    )


def _table() -> "np.typing.NDArray[np.float64]":
    """One row per image: its 64 pixels and its class."""
    package = find_spec("sklearn")
    assert package is not None  # a dependency
    path = Path(str(package.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():  # what `load_digits` reads, whose import takes a second
        return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.column_stack([pixels, labels])
