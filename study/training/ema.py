"""Power-function averages of the weights of a training run.

(Karras et al. 2024, EDM2, § 3 and appendix C)
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import InputError


class Profile(NamedTuple):
    """An average at step T with exponent γ: step t has the weight p(t) = (γ + 1)·tᵞ/T^(γ + 1).

    0 ≤ t ≤ T. The recursion of `update` gives exactly this average if the weights of step k apply
    from k − 1 to k.
    """

    step: float
    gamma: float


def exponent(sigma_rel: float) -> float:
    """γ of the profile tᵞ whose standard deviation is σ_rel of the training time.

    σ_rel² = (γ + 1)/((γ + 2)²(γ + 3)). Raises InputError unless 0 < σ_rel < 12^(−1/2), the width of
    γ = 0. (EDM2, eq. 126 and algorithm 2)
    """
    if not 0 < sigma_rel < 12**-0.5:
        raise InputError(
            f"EMA: found relative width {sigma_rel}; accepted: between 0 and {12**-0.5:.3f}."
        )
    t = sigma_rel**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


@torch.no_grad()
def update(averages: Iterable[Tensor], weights: Iterable[Tensor], step: int, gamma: float) -> None:
    """θ̂ ← β·θ̂ + (1 − β)·θ with β = (1 − 1/t)^(γ + 1) at step t ≥ 1, in place (EDM2, eq. 123)."""
    beta: float = (1 - 1 / step) ** (gamma + 1)
    # one call for all tensors, not one for each
    torch._foreach_lerp_(list(averages), list(weights), 1 - beta)


def inner(p: Profile, q: Profile) -> float:
    """⟨p, q⟩ = ∫ p(t)·q(t) dt = (γ + 1)(γ' + 1)/(γ + γ' + 1) · (T/T')^γ'/T' if T ≤ T'.

    Both are zero beyond T, so the integral is that of t^(γ + γ') from 0 to T.
    """
    p, q = sorted((p, q))
    return (
        (p.gamma + 1)
        * (q.gamma + 1)
        / (p.gamma + q.gamma + 1)
        * (p.step / q.step) ** q.gamma
        / q.step
    )


def reconstruct(kept: Sequence[Profile], wanted: Profile) -> tuple[npt.NDArray[np.float64], float]:
    """Coefficients c, [n], of kept averages whose sum is nearest to a wanted one, and its error.

    The error is |Σ cᵢpᵢ − p|/|p|. c minimises ∫(Σ cᵢpᵢ − p)² dt subject to Σ cᵢ = 1, without which
    the sum would shrink the weights. Averages kept at later steps than the wanted one are not used.
    Raises InputError if no earlier one is kept. (EDM2, § 3.2)
    """
    coefficients = np.zeros(len(kept))
    if wanted in kept:
        coefficients[kept.index(wanted)] = 1
        return coefficients, 0.0
    used = [i for i, p in enumerate(kept) if p.step <= wanted.step]
    if not used:
        raise InputError(f"EMA: no average up to step {wanted.step:g} was kept.")
    n, norm = len(used), inner(wanted, wanted)
    # makes the diagonal one
    scale = np.array([(inner(kept[i], kept[i]) / norm) ** 0.5 for i in used])
    matrix = (
        np.array([[inner(kept[i], kept[j]) for j in used] for i in used])
        / np.outer(scale, scale)
        / norm
    )
    vector = np.array([inner(kept[i], wanted) for i in used]) / scale / norm
    # with a Lagrange multiplier
    bordered = np.block([[matrix, 1 / scale[:, None]], [1 / scale, np.zeros(1)]])
    scaled = np.linalg.lstsq(bordered, np.append(vector, 1.0), rcond=None)[0][:n]
    coefficients[used] = scaled / scale
    error = 1 - 2 * scaled @ vector + scaled @ matrix @ scaled
    return coefficients, float(max(error, 0) ** 0.5)
