"""A blurred input."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from degradations.blur import blur
from degradations.condition import NONE, Condition
from degradations.degradation import Kind
from degradations.denoiser import Denoiser
from degradations.draws import Draws
from degradations.errors import InputError


@dataclass(frozen=True)
class InputBlur(Kind):
    """`input-blur(s)`: D(G_s x; σ), Gaussian blur with a standard deviation of s pixels.

    x: [B, C, H, W]; the degraded denoiser raises InputError if x has another shape.
    """

    kind: ClassVar[str] = "input-blur"

    def degrade(self, base: Denoiser) -> Denoiser:
        return _Blurred(base, self.strength)


class _Blurred(Denoiser):
    def __init__(self, base: Denoiser, std: float) -> None:
        super().__init__()
        self.base, self.std = base, std

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        if x.ndim != 4:
            raise InputError(
                f"input-blur: found samples of shape {list(x.shape)}; accepted: [B, C, H, W]."
            )
        return self.base(blur(x, self.std), sigma, condition, draws)
