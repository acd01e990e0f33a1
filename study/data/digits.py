"""1797 real images of handwritten digits, 8×8."""

import torch

from study.data.data import Data


def digits() -> Data:
    """scikit-learn's `load_digits`: [1797, 1, 8, 8] in [−1, 1] (0…16 there), ten classes."""
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    samples = torch.from_numpy(x).float().reshape(-1, 1, 8, 8) / 8 - 1
    return Data("digits", samples, torch.from_numpy(labels).long(), classes=10)
