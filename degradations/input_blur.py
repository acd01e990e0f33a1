"""A blurred input."""

from dataclasses import dataclass
from typing import ClassVar

from degradations.around import Around, Question
from degradations.blur import blur
from degradations.denoiser import Denoiser
from degradations.draws import Draws
from degradations.errors import InputError


@dataclass(frozen=True)
class InputBlur(Around):
    """`input-blur(s)`: D(G_s x; σ), Gaussian blur with a standard deviation of s pixels.

    x: [B, C, H, W]; the degraded denoiser raises InputError if x has another shape.
    """

    kind: ClassVar[str] = "input-blur"

    def ask(self, question: Question, draws: Draws | None, base: Denoiser) -> Question:
        if question.x.ndim != 4:
            raise InputError(
                f"input-blur: found samples of shape {list(question.x.shape)}; accepted: [B, C, H, "
                "W]."
            )
        return question._replace(x=blur(question.x, self.strength))
