"""Rounding to a number of bits."""

import math

import torch
from torch import Tensor


def rounded(x: Tensor, largest: Tensor, bits: float) -> Tensor:
    """x, with |x| ≤ largest, rounded to multiples of Δ = 2·largest/(2^bits − 1).

    `largest` broadcasts with x. A mid-tread quantiser: 0 stays 0, and no error exceeds |x| or Δ/2.
    An integer number of bits k gives the 2^k − 1 levels jΔ with |j| < 2^(k − 1); ±largest, halfway
    to a further level, is rounded to the outermost. Other real k lie between.
    """
    half = (2**bits - 1) / 2  # largest/Δ
    last = math.ceil(half - 0.5)
    step = (largest / half).clamp(min=torch.finfo(x.dtype).tiny)  # if all of x is 0, it stays 0
    return (x / step).round().clamp(-last, last) * step
