"""Kernel distance and neighbours of samples and data, from the same products of features."""

import torch
from torch import Tensor

from degradations import InputError
from study.metrics.kernel import BLOCK, Features, cubes, within
from study.metrics.metric import Metric
from study.metrics.neighbours import DENSITY_K, Neighbours
from study.metrics.reference import Reference
from study.metrics.tally import Tally


class Pairs(Metric):
    """`kd`, and unless the data are held out `precision`, `recall`, `density` and `coverage`.

    Only if the reference kept features. See `pair_scores`.
    """

    def scores(
        self, extractor: str, tally: Tally, reference: Reference, held_out: bool
    ) -> dict[str, float]:
        x, y = tally.features(extractor), reference.features
        if y is None:
            return {}
        near = reference.radii if not held_out and len(y) > DENSITY_K else None
        return pair_scores(x, y, reference.kernel_within, near)


def pair_scores(
    x: Features, y: Features, y_within: float, y_radii: Tensor | None
) -> dict[str, float]:
    """`kd`, the kernel distance, and `precision`, `recall`, `density` and `coverage`.

    The last four need at least six samples and six data. x: features of samples, [n, d]; y: of the
    data, [m, d]; y_within, y_radii: `within` and `radii` of y. See `kernel_distance` and
    `Neighbours` for the formulas; precision and the others depend on n and m. Raises InputError if
    there are fewer than two samples or the dimensions differ.
    """
    if x.shape[1] != y.shape[1] or len(x) < 2:
        raise InputError(
            f"metrics of pairs: found {x.shape} and {y.shape}; accepted: two sets [≥ 2, d] of the "
            "same d."
        )
    samples, data = torch.from_numpy(x).double(), torch.from_numpy(y).double()
    counted = None
    if y_radii is not None and len(x) > DENSITY_K:
        counted = Neighbours((samples * samples).sum(1), (data * data).sum(1), y_radii)
    own_total, across_total = 0.0, 0.0
    for first in range(0, len(samples), BLOCK):
        rows = slice(first, first + BLOCK)
        own, across = samples[rows] @ samples.T, samples[rows] @ data.T
        own_total += cubes(own, x.shape[1])
        across_total += cubes(across, x.shape[1])
        if counted is not None:
            counted.add(rows, own, across)
    kd = within(x, own_total) + y_within - 2 * across_total / (len(x) * len(y))
    return {"kd": kd, **(counted.scores() if counted is not None else {})}
