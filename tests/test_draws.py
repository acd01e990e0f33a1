"""Which random numbers main and guide take: the main's are the same at every weight, whatever
guides it."""

from collections import defaultdict
from itertools import chain, product

import pytest
import torch
from torch import Tensor

from degradations import Denoiser, Draws, Guided, Interval, parse
from degradations.condition import NONE, Condition
from tests.degradation_kinds import KINDS, KINDS_OF_IMAGES
from tests.helpers import small_transformer

SINGLE = [str(row.values[0](row.values[1][1])) for row in KINDS + KINDS_OF_IMAGES if row.values[2]]  # type: ignore[operator, index]
SEVERAL = [
    "noise(0.1)+noise(0.2)",
    "dropout(0.1)+noise(0.1)",
    "dropout(0.1)+dropout(0.2)+label-swap(0.3)",
    "noise(0.1)+turned(0.5)",
]
X = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABEL, LEVELS = torch.tensor([0, 2]), (3.0, 1.0, 0.2)

Drawn = list[dict[str, list[int]]]  # of each evaluation and stream, the seeds of the generators


class Watched(Denoiser):
    """A denoiser that says when it is being evaluated."""

    def __init__(self, base: Denoiser, name: str, watch: "Watch") -> None:
        super().__init__()
        self.base, self.name, self.watch = base, name, watch

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        condition: Condition = NONE,
        draws: Draws | None = None,
    ) -> Tensor:
        before, self.watch.now = self.watch.now, self.name
        self.watch.drawn[self.name].append(defaultdict(list))
        d = self.base(x, sigma, condition, draws)
        self.watch.now = before
        return d


class Watch:
    """What the denoisers of a sampling draw, by their names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.drawn = "", defaultdict[str, Drawn](list)
        original = Draws.generator

        def generator(
            draws: Draws, stream: str, device: torch.device | str = "cpu"
        ) -> torch.Generator:
            made = original(draws, stream, device)
            drawn = self.drawn[self.now][-1][stream]
            if made.initial_seed() not in drawn:  # `turned` evaluates twice with the same numbers
                drawn.append(made.initial_seed())
            return made

        monkeypatch.setattr(Draws, "generator", generator)

    def of(self, denoiser: Denoiser) -> dict[str, Drawn]:
        """What is drawn in an evaluation at each of some noise levels, from the same beginning."""
        self.drawn.clear()
        draws = Draws(5)
        for sigma in LEVELS:
            denoiser(X, sigma, LABEL, draws)
        return dict(self.drawn)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def degraded(name: str, role: str, watch: Watch) -> Denoiser:
    return Watched(parse(name)(small_transformer()), role, watch)


def seeds(drawn: Drawn) -> list[int]:
    return list(
        chain.from_iterable(chain.from_iterable(evaluation.values()) for evaluation in drawn)
    )


@pytest.mark.parametrize("guide", SINGLE + SEVERAL)
@pytest.mark.parametrize("main", SINGLE + SEVERAL)
class TestEveryPair:
    def test_the_main_draws_the_same_at_every_weight(
        self, watch: Watch, main: str, guide: str
    ) -> None:
        d1, d0 = degraded(main, "main", watch), degraded(guide, "guide", watch)
        alone = watch.of(d1)["main"]
        assert len(set(seeds(alone))) > 2
        for coupling, weight in product(("independent", "shared"), (1.0, 2.0)):
            assert watch.of(Guided(d1, d0, weight, coupling))["main"] == alone  # type: ignore[arg-type]
        inside = watch.of(Guided(d1, d0, 0.0, "shared", rule=Interval(0.5, 2.0)))
        # also where the guide counts alone, in part of the noise levels
        assert inside["main"] == alone

    def test_a_shared_guide_sees_the_main_s_draws_and_then_its_own(
        self, watch: Watch, main: str, guide: str
    ) -> None:
        found = watch.of(
            Guided(degraded(main, "main", watch), degraded(guide, "guide", watch), 2.0, "shared")
        )
        more: list[int] = []
        for of_main, of_guide in zip(found["main"], found["guide"], strict=True):
            for stream, drawn in of_guide.items():
                shared = min(len(drawn), len(of_main[stream]))
                assert drawn[:shared] == of_main[stream][:shared]
                more += drawn[shared:]
        assert len(set(more)) == len(more)
        assert not set(more) & set(seeds(found["main"]))


@pytest.mark.parametrize(("main", "guide"), list(product(["none", *SINGLE], SINGLE)))
def test_between_single_kinds_the_guide_draws_what_it_would_alone(
    watch: Watch, main: str, guide: str
) -> None:
    """The numbers of studies of plain pairings: a kind draws equally often in main and guide, or in
    one of them."""
    d0 = degraded(guide, "guide", watch)
    alone = watch.of(d0)["guide"]
    assert watch.of(Guided(degraded(main, "main", watch), d0, 2.0, "shared"))["guide"] == alone
    assert watch.of(Guided(degraded(main, "main", watch), d0, 0.0, "shared"))["guide"] == alone


@pytest.mark.parametrize("outer", ["main", "guide"])
def test_within_one_another(watch: Watch, outer: str) -> None:
    """A guided denoiser as the main, or as the guide, of another: no number is drawn twice but to
    be shared."""
    inner = Guided(
        degraded("noise(0.1)", "d1", watch),
        degraded("noise(0.1)+noise(0.2)", "d0", watch),
        2.0,
        "shared",
    )
    other = degraded("noise(0.1)+noise(0.2)+noise(0.3)", "other", watch)
    pair = (inner, other) if outer == "main" else (other, inner)
    found = watch.of(Guided(*pair, 1.5, "shared"))
    innermost = "d1" if outer == "main" else "other"
    assert found[innermost] == watch.of(pair[0])[innermost]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        for one, two in product(found, found):
            assert not set(seeds([found[one][first]])) & set(seeds([found[two][second]]))
    for each in found.values():
        assert len(set(seeds(each))) == len(seeds(each))


def test_an_evaluation_at_a_twin_s_draws_is_the_same_again(watch: Watch) -> None:
    """As `turned` needs it, also of a guided denoiser whose guide draws more than its main."""
    main, guide = (
        degraded("noise(0.1)", "main", watch),
        degraded("noise(0.1)+noise(0.2)", "guide", watch),
    )
    guided = Guided(main, guide, 2.0, "shared")
    draws = Draws(5)
    for sigma in LEVELS:
        again = draws.twin()
        assert torch.equal(guided(X, sigma, LABEL, draws), guided(X, sigma, LABEL, again))
