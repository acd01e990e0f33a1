"""The data sets that ship."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from study.data import load_data
from study.data.digits import digits


def test_the_digits_are_scikit_learn_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from its file, and where that has moved, by its function."""
    pixels, labels = load_digits(return_X_y=True)
    read = digits()
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    for found in (read, digits()):
        np.testing.assert_array_equal(found.samples.flatten(1).numpy(), pixels / 8 - 1)
        np.testing.assert_array_equal(found.labels, labels)
        assert found.samples.dtype == torch.float32


def test_a_data_set_is_read_once() -> None:
    assert load_data("digits") is load_data("digits")
