"""What the endpoint probe says: the best weight of a mixture of samples."""

from collections.abc import Mapping, Sequence


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
