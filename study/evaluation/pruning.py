"""Evaluations of a search that end after a part of their samples, since they cannot be the best."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from study.metrics import Reference, Tally, replicates
from study.records.statistics import jackknife
from study.records.task import Evaluation, Outcome
from study.sampling import Source

LEAST = 20  # samples of a chunk
PARTS = 3  # equal ones, in whole chunks; there is a look after each but the last

Early = Mapping[str, Sequence[Sequence[float]]]


def looks(source: Source) -> list[range]:
    """The chunks of each part that ends with a look; none if chunks are too small for moments."""
    if len(source.indices(0)) < LEAST:
        return []
    ends = [0, *(-(-len(source) * part // PARTS) for part in range(1, PARTS))]
    return [range(a, b) for a, b in pairwise(ends) if a < b < len(source)]


def with_look(early: Early, tally: Tally, references: Mapping[str, Reference]) -> Early:
    """The distances of the looks so far and those of one more, at the samples of a tally.

    Of each look: a Fréchet distance, followed by those without each group of the samples.
    """
    left_out, moments = replicates(tally, references), tally.moments
    found = {}
    for name, reference in references.items():
        whole = reference.frechet.distance(moments[name].mean, moments[name].covariance)
        key = f"fd_{name}"
        found[key] = [*early.get(key, ()), [whole, *left_out.get(key, ())]]
    return found


def pruned(early: Early, best: Evaluation | None, metric: str, share: float) -> Outcome | None:
    """The outcome of an evaluation that ends at its last look; None if it goes on.

    It ends if its distance is above that of the best evaluation so far at 95 %, by the jackknife of
    their difference at the same look, where their common noise cancels. The scores of the outcome
    are estimates: the best evaluation's on all samples, plus the difference. early: see
    `with_look`; share: of the samples at the last look.
    """
    look = len(early[metric]) - 1
    if best is None or look >= len(best.outcome.early.get(metric, ())):
        return None
    if len(early[metric][look]) < 3:  # no groups, no interval
        return None
    gap = _gap(early[metric][look], best.outcome.early[metric][look], share)
    if jackknife(gap[0], gap[1:]).low <= 0:
        return None
    scores, left_out = {}, {}
    for name in early.keys() & best.scores.keys() & best.outcome.early.keys():
        gap = _gap(early[name][look], best.outcome.early[name][look], share)
        scores[name] = best.scores[name] + gap[0]
        left_out[name] = [a + b for a, b in zip(best.replicates(name), gap[1:], strict=True)]
    return Outcome(scores, left_out, early=early, pruned=True)


def _gap(one: Sequence[float], other: Sequence[float], share: float) -> list[float]:
    """The difference of two distances at a look, and of their replicates, as of all samples.

    FD of n samples has a bias of about b/n, which a wider distribution makes larger. Of G groups
    the jackknife finds that of the look, (G − 1)·(mean of the replicates − whole); `share` of it
    remains with all samples. (Efron & Stein 1981)
    """
    whole, *left_out = (a - b for a, b in zip(one, other, strict=True))
    bias = (len(left_out) - 1) * (sum(left_out) / len(left_out) - whole)
    return [each - (1 - share) * bias for each in (whole, *left_out)]
