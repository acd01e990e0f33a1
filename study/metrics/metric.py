"""The contract of a metric beside the Fréchet distance, of the same features."""

from abc import ABC, abstractmethod

from study.metrics.reference import Reference
from study.metrics.tally import Tally


class Metric(ABC):
    """Scores of samples, each by a key, which the extractor's name follows: `kd_digits`."""

    @abstractmethod
    def scores(
        self, extractor: str, tally: Tally, reference: Reference, held_out: bool
    ) -> dict[str, float]:
        """The scores of the samples of a tally by an extractor; empty if they cannot be computed.

        held_out: the reference is held-out data, an additional one; return what is to be known of
        it.
        """
        raise NotImplementedError


def metrics() -> list[Metric]:
    """All metrics beside the Fréchet distance, by the names of their classes."""
    return [each() for each in sorted(Metric.__subclasses__(), key=lambda each: each.__name__)]
