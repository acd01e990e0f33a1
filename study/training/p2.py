"""The loss of DDPM, and its perception-prioritised weighting."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations import InputError
from study.training.objective import Objective


@dataclass(frozen=True)
class EpsilonObjective(Objective):
    """`epsilon`: λ(σ) = 1/σ², the unweighted error of the noise estimate ε̂ = (x − D)/σ.

    (Ho et al. 2020, eq. 14)
    """

    kind: ClassVar[str] = "epsilon"

    def weight(self, sigma: Tensor, sigma_data: float) -> Tensor:
        return 1 / sigma**2


@dataclass(frozen=True)
class P2Objective(Objective):
    """`p2(k=1, gamma=1)`: λ(σ) = σ⁻²/(k + SNR)^γ with SNR = 1/σ².

    That is the unweighted error of the noise estimate times (k + σ⁻²)^−γ, which spends little on
    noise levels at which only imperceptible detail is left to be learned; γ = 0 is `epsilon`. The
    variances of the paper's model, learned beside, are left out on purpose: samplers in σ have no
    use for them. Raises InputError unless k > 0 and γ ≥ 0. (Choi et al. 2022, P2, eq. 8)
    """

    k: float = 1.0
    gamma: float = 1.0

    kind: ClassVar[str] = "p2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k <= 0 or self.gamma < 0:
            raise InputError(
                f"recipe.objective: found {self}; accepted: k above 0, gamma of at least 0."
            )

    def weight(self, sigma: Tensor, sigma_data: float) -> Tensor:
        return sigma**-2 * (self.k + sigma**-2) ** -self.gamma
