"""Evaluations of a search that end after a part of their samples, since they cannot be the best."""

from collections.abc import Mapping, Sequence

from study.metrics import Reference, Tally, replicates
from study.records.statistics import jackknife
from study.records.task import Evaluation, Outcome
from study.sampling import Source

LEAST = 20  # samples of a chunk
SHARE = 3  # the part is the first of so many equal ones, in whole chunks

Early = Mapping[str, Sequence[float]]


def first_part(source: Source) -> range:
    """The chunks of the part; empty if it would be all, or too few samples for their moments."""
    n = -(-len(source) // SHARE)
    return range(n if n < len(source) and len(source.indices(0)) >= LEAST else 0)


def distances(
    tally: Tally, references: Mapping[str, Reference], part: range
) -> dict[str, list[float]]:
    """Each Fréchet distance of a part, followed by those without each of its groups."""
    if not part:
        return {}
    left_out, moments = replicates(tally, references), tally.moments
    found = {}
    for name, reference in references.items():
        whole = reference.frechet.distance(moments[name].mean, moments[name].covariance)
        found[f"fd_{name}"] = [whole, *left_out.get(f"fd_{name}", ())]
    return found


def pruned(early: Early, best: Evaluation | None, metric: str, share: float) -> Outcome | None:
    """The outcome of an evaluation that ends after the part; None if it goes on.

    It ends if its distance is above that of the best evaluation so far at 95 %, by the jackknife of
    their difference on the part, whose common noise cancels. The scores of the outcome are
    estimates: the best evaluation's on all samples, plus the difference. early: the distances of
    the part, see `distances`; share: of the samples in the part.
    """
    if best is None or len(early.get(metric, ())) < 3 or metric not in best.outcome.early:
        return None
    gap = _gap(early[metric], best.outcome.early[metric], share)
    if jackknife(gap[0], gap[1:]).low <= 0:
        return None
    scores, left_out = {}, {}
    for name in early.keys() & best.scores.keys() & best.outcome.early.keys():
        gap = _gap(early[name], best.outcome.early[name], share)
        scores[name] = best.scores[name] + gap[0]
        left_out[name] = [a + b for a, b in zip(best.replicates(name), gap[1:], strict=True)]
    return Outcome(scores, left_out, early=early, pruned=True)


def _gap(one: Sequence[float], other: Sequence[float], share: float) -> list[float]:
    """The difference of two distances of a part, and of their replicates, as of all samples.

    FD of n samples has a bias of about b/n, which a wider distribution makes larger. Of G groups
    the jackknife finds that of the part, (G − 1)·(mean of the replicates − whole); `share` of it
    remains with all samples. (Efron & Stein 1981)
    """
    whole, *left_out = (a - b for a, b in zip(one, other, strict=True))
    bias = (len(left_out) - 1) * (sum(left_out) / len(left_out) - whole)
    return [each - (1 - share) * bias for each in (whole, *left_out)]
