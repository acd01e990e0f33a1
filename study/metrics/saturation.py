"""The share of pixel values that an image cannot show."""

import numpy as np

from study.metrics.metric import Metric
from study.metrics.reference import Reference
from study.metrics.tally import Tally

LEVEL = 2 / 255  # of 8 bits in [−1, 1]


class Saturation(Metric):
    """`saturation`: the share of values beyond [−1, 1] by more than a level of 8 bits, of images.

    By the extractor `pixels`, of the first samples; written as an image they are clipped.
    """

    def scores(
        self, extractor: str, tally: Tally, reference: Reference, held_out: bool
    ) -> dict[str, float]:
        if held_out or extractor != "pixels" or reference.size is None:
            return {}
        if np.abs(reference.frechet.mean).max() > 1:  # images in another range
            return {}
        return {"saturation": float((np.abs(tally.features(extractor)) > 1 + LEVEL).mean())}
