"""The share of samples that a classifier assigns to the class they were conditioned on."""

from study.metrics.metric import Metric
from study.metrics.reference import Reference
from study.metrics.tally import Tally


class Accuracy(Metric):
    """`accuracy`, if the extractor has a classifier and the samples have labels."""

    def scores(
        self, extractor: str, tally: Tally, reference: Reference, held_out: bool
    ) -> dict[str, float]:
        if held_out or not tally.labelled[extractor]:
            return {}
        return {"accuracy": tally.correct[extractor] / tally.labelled[extractor]}
