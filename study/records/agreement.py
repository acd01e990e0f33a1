"""How well predictions agree with verdicts, over the cells of a matrix of kinds.

Cells are not independent: those of one row share a main, those of one column a guide. Intervals and
tests therefore resample kinds, rows and columns together, never cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from degradations.errors import InputError

Array = npt.NDArray[np.float64]
RESAMPLES = 2000


def multiclass_correlation(predicted: Sequence[str], found: Sequence[str]) -> float:
    """R_K, the correlation of two labellings in any number of classes; for two it is Matthews'.

    R_K = (c·s − Σ p_k t_k)/√((s² − Σ p_k²)(s² − Σ t_k²)) of s cells, c of them equal, p_k and t_k
    of class k. 1: equal; 0: unrelated, and also where one labelling is constant, of which nothing
    can be learned. Raises InputError for unequal numbers. (Gorodkin 2004)
    """
    _require_equal(predicted, found)
    classes = sorted({*predicted, *found})
    p, t = (
        np.array([labels.count(k) for k in classes]) for labels in (list(predicted), list(found))
    )
    s, c = len(found), sum(a == b for a, b in zip(predicted, found, strict=True))
    scale = float(np.sqrt(float(s**2 - (p**2).sum()) * float(s**2 - (t**2).sum())))
    return float(c * s - (p * t).sum()) / scale if scale else 0.0


def area_under_curve(score: Sequence[float], positive: Sequence[bool]) -> float | None:
    """P(a positive cell has a larger score than another one), ties counted half.

    None if there are no positive or no other cells.
    """
    _require_equal(score, positive)
    chosen = np.asarray(positive, bool)
    n, m = int(chosen.sum()), int((~chosen).sum())
    if not n or not m:
        return None
    ranks = rankdata(score)
    return float((ranks[chosen].sum() - n * (n + 1) / 2) / (n * m))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one of them is constant."""
    _require_equal(a, b)
    if len(set(a)) < 2 or len(set(b)) < 2:
        return 0.0
    # SciPy's spearmanr takes ten times as long, for a p-value that is not used
    x, y = (ranks - ranks.mean() for ranks in map(rankdata, (a, b)))
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


@dataclass(frozen=True)
class Cells:
    """The kinds of the mains and guides of some cells, by cell.

    Raises InputError for unequal numbers.
    """

    mains: Sequence[str]
    guides: Sequence[str]

    def __post_init__(self) -> None:
        _require_equal(self.mains, self.guides)

    @property
    def kinds(self) -> list[str]:
        return sorted({*self.mains, *self.guides})

    def interval(
        self,
        statistic: Callable[[npt.NDArray[np.intp]], float | None],
        seed: int = 0,
        level: float = 0.95,
    ) -> tuple[float, float] | None:
        """The bootstrap's interval of a statistic of cells, which are given by their indices.

        Kinds are drawn with replacement; a cell counts as often as its main's kind times its
        guide's. None if the statistic has no value in most resamples.
        """
        rng, kinds, found = np.random.default_rng(seed), self.kinds, []
        rows = np.array([kinds.index(each) for each in self.mains])
        columns = np.array([kinds.index(each) for each in self.guides])
        for _ in range(RESAMPLES):
            times = np.bincount(rng.integers(len(kinds), size=len(kinds)), minlength=len(kinds))
            chosen = np.repeat(np.arange(len(rows)), times[rows] * times[columns])
            value = statistic(chosen) if len(chosen) else None
            if value is not None:
                found.append(value)
        if len(found) < RESAMPLES / 2:
            return None
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def permutation_p(self, a: Sequence[float], b: Sequence[float], seed: int = 0) -> float:
        """The p-value of a rank correlation of two values of the cells, by permuting kinds.

        The rows and columns of b are permuted together, which keeps its own structure (QAP). Cells
        without a counterpart are left out, and permutations in which none has one. (Krackhardt
        1988)
        """
        rng, kinds = np.random.default_rng(seed), self.kinds
        rows = [kinds.index(each) for each in self.mains]
        columns = [kinds.index(each) for each in self.guides]
        table = np.full((len(kinds), len(kinds)), np.nan)
        table[rows, columns] = b
        observed, own = abs(rank_correlation(a, b)), np.asarray(a, float)
        larger = counted = 1
        for _ in range(RESAMPLES):
            order = rng.permutation(len(kinds))
            other = table[order[rows], order[columns]]
            there = np.isfinite(other)
            if not there.any():
                continue
            counted += 1
            larger += abs(rank_correlation(list(own[there]), list(other[there]))) >= observed
        return larger / counted


def _require_equal(a: Sequence[object], b: Sequence[object]) -> None:
    if len(a) != len(b) or not len(a):
        raise InputError(f"cells: found {len(a)} and {len(b)}; accepted: as many of each, above 0.")
