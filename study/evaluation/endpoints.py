"""What the endpoint probe says: the best weight of a mixture of samples."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from torch import Tensor

from degradations import RunError
from study.metrics import Reference, Tally


def mixture_curve(
    weights: Sequence[float],
    x1: Tensor,
    x0: Tensor,
    tally_of: Callable[[Tensor], Tally],
    references: Mapping[str, Reference],
) -> dict[str, list[float]]:
    """Each Fréchet distance of w·x1 + (1 − w)·x0 at every `weight` at which it is finite."""
    curve: dict[str, list[float]] = {"weight": []}
    for weight in weights:
        with suppress(RunError):  # for a large weight the mixture may not be finite
            moments = tally_of(x1 if weight == 1 else weight * x1 + (1 - weight) * x0).moments
            for name, reference in references.items():
                found = reference.frechet.distance(moments[name].mean, moments[name].covariance)
                curve.setdefault(f"fd_{name}", []).append(found)
            curve["weight"].append(weight)
    return curve


def endpoint_scores(curve: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The best weight, the share of FD(1) that it removes, and FD there, of each distance.

    curve: `weight`, and each Fréchet distance at every weight.
    """
    found: dict[str, float] = {}
    for metric in curve.keys() - {"weight"}:
        fd = dict(zip(curve["weight"], curve[metric], strict=True))
        best = min(fd, key=lambda weight: (fd[weight], abs(weight - 1)))
        found |= {metric: fd[best], f"endpoint_weight_{metric}": best}
        found |= {f"endpoint_gain_{metric}": 1 - fd[best] / fd[1.0]} if 1.0 in fd else {}
    return found
