"""Corrections for many comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from degradations.errors import InputError

LEVEL = 0.05  # of a study: of any false finding, or the expected share of false ones
HANDFUL = 20  # comparisons up to which any false finding is controlled

Method = Literal["none", "bonferroni", "benjamini-yekutieli"]


@dataclass(frozen=True)
class Correction:
    """A correction for m comparisons, whose dependence may be any.

    `bonferroni` bounds the probability of any false finding by 5 %; `benjamini-yekutieli` the
    expected share of false ones among the findings (Benjamini & Yekutieli 2001); `none` corrects
    nothing. Raises InputError for fewer than one comparison.
    """

    method: Method
    m: int

    def __post_init__(self) -> None:
        if self.m < 1:
            raise InputError(f"comparisons: found {self.m}; accepted: at least 1.")

    @classmethod
    def of(cls, m: int) -> "Correction":
        """The correction of a study of m comparisons: of a handful any false finding counts."""
        if m <= 1:
            return cls("none", max(m, 1))
        return cls("bonferroni" if m <= HANDFUL else "benjamini-yekutieli", m)

    @property
    def strictest(self) -> float:
        """The level at which a comparison is a finding whatever the others are."""
        return self._level(1)

    def findings(self, p: Sequence[float]) -> list[bool]:
        """Which of the comparisons are findings, by their p-values.

        Raises InputError if there are other than m of them.
        """
        if len(p) != self.m:
            raise InputError(f"p-values: found {len(p)}; accepted: {self.m}.")
        if self.method != "benjamini-yekutieli":
            return [each <= self._level(1) for each in p]
        ranked = sorted(p)
        passed = [k for k, each in enumerate(ranked, 1) if each <= self._level(k)]
        return [each <= self._level(max(passed)) for each in p] if passed else [False] * self.m

    def coverage(self, found: int) -> float:
        """The coverage of each finding's interval, for so many findings.

        For `bonferroni` all m intervals hold together at 95 %; for `benjamini-yekutieli` the
        expected share of intervals that miss, among those of the findings, is at most 5 % (FCR).
        (Benjamini & Yekutieli 2005)
        """
        return 1 - self._level(max(found, 1))

    def _level(self, k: int) -> float:
        """The level of the k-th smallest p-value."""
        if self.method == "none":
            return LEVEL
        if self.method == "bonferroni":
            return LEVEL / self.m
        return LEVEL * k / (self.m * float((1 / np.arange(1, self.m + 1)).sum()))

    def __str__(self) -> str:
        texts = {
            "none": "not corrected",
            "bonferroni": f"corrected for {self.m} comparisons (Bonferroni)",
            "benjamini-yekutieli": f"false discoveries among {self.m} comparisons at most 5 % "
            "(Benjamini–Yekutieli)",
        }
        return texts[self.method]
