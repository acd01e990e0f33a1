"""Main and guide around one network, evaluated in one batch, or once for both."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from degradations.around import Around, Question, Surrounded
from degradations.condition import Condition
from degradations.denoiser import Denoiser, Site
from degradations.draws import Draws

# Numbers in the samples of main and guide together up to which one batch is faster than two. Larger
# ones occupy a device on their own and outgrow its caches (`bench_pairs.py`).
MOST_IN_ONE = 2**15


@dataclass(frozen=True)
class Together:
    """A main and a guide that ask one network, and differ in question or answer alone.

    main, guide: the degradations around the network, from the outermost.
    """

    network: Denoiser
    main: tuple[Around, ...]
    guide: tuple[Around, ...]

    @classmethod
    def of(cls, main: Denoiser, guide: Denoiser) -> "Together | None":
        """None if they are of different networks, or of one that draws random numbers."""
        (network, around_main), (other, around_guide) = _layers(main), _layers(guide)
        acting = (site.actions for site in network.modules() if isinstance(site, Site))
        if network is not other or any(acting):
            return None
        return cls(network, around_main, around_guide)

    @property
    def share(self) -> bool:
        """Whether they ask the same, so that one evaluation of the network is enough."""
        mains, guides = ([k for k in kinds if k.asks] for kinds in (self.main, self.guide))
        return mains == guides and not any(kind.random for kind in mains)

    def estimates(
        self, question: Question, draws: Draws | None, guide_draws: Callable[[], Draws | None]
    ) -> tuple[Tensor, Tensor] | None:
        """The estimates of main and guide; None if two evaluations are faster.

        question: what both are asked; guide_draws: returns the guide's random numbers, after
        the main has drawn.
        """
        if not self.share and 2 * question.x.numel() > MOST_IN_ONE:
            return None
        asked_main = self._asked(self.main, question, draws)
        asked_guide = self._asked(self.guide, question, guide_draws())
        if self.share:
            d1 = d0 = self.network(*asked_main[-1])
        else:
            d1, d0 = self._both(asked_main[-1], asked_guide[-1])
        return self._answer(self.main, asked_main, d1), self._answer(self.guide, asked_guide, d0)

    def _both(self, first: Question, second: Question) -> tuple[Tensor, Tensor]:
        """The network's answers to two questions, in one batch unless they are of other sizes."""
        if first.x.shape[1:] != second.x.shape[1:]:
            return self.network(*first), self.network(*second)
        joined = self.network(*_joined(first, second))
        return joined[: len(first.x)], joined[len(first.x) :]

    def _asked(
        self, kinds: tuple[Around, ...], question: Question, draws: Draws | None
    ) -> list[Question]:
        """The question, and what each kind makes of it, the network's last."""
        asked = [question]
        for kind in kinds:
            asked.append(kind.ask(asked[-1], draws, self.network))
        return asked

    def _answer(self, kinds: tuple[Around, ...], asked: list[Question], d: Tensor) -> Tensor:
        for kind, question in zip(reversed(kinds), asked[-2::-1], strict=True):
            d = kind.answer(d, question, self.network)
        return d


def _layers(denoiser: Denoiser) -> tuple[Denoiser, tuple[Around, ...]]:
    """The denoiser inside all that surrounds it, and what does, from the outermost."""
    around: list[Around] = []
    while isinstance(denoiser, Surrounded):
        around.append(denoiser.kind)
        denoiser = denoiser.base
    return denoiser, tuple(around)


def _joined(first: Question, second: Question) -> Question:
    """Two questions as one."""
    sigmas = [
        torch.as_tensor(each.sigma, dtype=torch.float64).expand(len(each.x))
        for each in (first, second)
    ]
    labels = None
    if first.condition.label is not None or second.condition.label is not None:
        labels = torch.cat([each.condition.labels(each.x) for each in (first, second)])
    return Question(torch.cat([first.x, second.x]), torch.cat(sigmas), Condition(labels))
