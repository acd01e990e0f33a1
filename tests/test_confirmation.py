"""The comparison with weight 1 over seed sets: looks, p-values, intervals, and their error rates.

Studies are simulated as the confirmation sees them: FD of base, main and guided of a seed set share
a common noise, and each is known without every tenth of its samples.
"""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from degradations import InputError
from study.records.confirmation import LEAST, Sets, compare
from study.records.multiplicity import Correction
from study.records.sequential import Sequential, spending

BASE, MAIN = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], [2.0, 2.1, 1.9, 2.05, 2.0, 1.95]
LOOKS, TENTHS = (4, 6, 8), 10
MonteCarlo = 4  # standard errors


def sets(values: Sequence[float]) -> Sets:
    return Sets.of(values)


def simulated(rng: np.random.Generator, mean: float, spread: float, common: np.ndarray) -> Sets:
    """FD of R sets, the mean of tenths' effects, each around a mean; and without every tenth."""
    r = len(common)
    tenths = rng.normal(mean, spread * math.sqrt(TENTHS), (r, TENTHS)) + common[:, None]
    values = tenths.mean(axis=1)
    without_each = (TENTHS * values[:, None] - tenths) / (TENTHS - 1)
    return Sets.of(list(values), [list(row) for row in without_each])


def trio(rng: np.random.Generator, guided: float, r: int = 8) -> tuple[Sets, Sets, Sets]:
    """Base 1, main 2 and guided, with noise that they share and of their own."""
    common = rng.normal(0, 0.1, r)
    base, main, other = (simulated(rng, mean, 0.1, common) for mean in (1.0, 2.0, guided))
    return base, main, other


class TestOneLook:
    def test_it_is_the_t_test(self) -> None:
        guided = [1.2, 1.25, 1.1, 1.3, 1.2, 1.15]
        found = compare(sets(BASE), sets(MAIN), sets(guided), (6,))
        d, c = np.subtract(MAIN, guided), np.subtract(MAIN, BASE)
        expected = stats.ttest_1samp(d - LEAST * c, 0, alternative="greater")
        assert found.t == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.gain, found.damage) == pytest.approx((d.mean(), c.mean()))
        assert found.recovered == pytest.approx(d.mean() / c.mean())
        interval = stats.ttest_1samp(d, 0).confidence_interval(0.95)
        assert found.gain_ci() == pytest.approx((interval.low, interval.high), abs=0.01)
        rest = stats.ttest_1samp(d - found.recovered * c, 0).confidence_interval(0.95)
        recovered = found.recovered_ci()
        assert recovered is not None
        assert recovered[1] - found.recovered == pytest.approx(rest.high / c.mean(), rel=0.05)

    def test_the_error_pools_sets_and_tenths(self) -> None:
        """Its square is an unbiased estimate of the variance of the mean, with 10·R − 1 degrees."""
        rng, found = np.random.default_rng(0), []
        for _ in range(2000):
            found.append(simulated(rng, 0.0, 0.3, np.zeros(4)).error ** 2)
        expected, degrees = 0.3**2 / 4, 4 * TENTHS - 1
        assert np.mean(found) == pytest.approx(
            expected, rel=MonteCarlo * math.sqrt(2 / degrees / 2000)
        )
        assert np.var(found) == pytest.approx(2 * expected**2 / degrees, rel=0.2)

    @pytest.mark.parametrize(("shift", "none"), [(0.1, True), (0.0, True), (-0.03, True)])
    def test_a_gain_below_a_twentieth_of_the_damage_is_none(self, shift: float, none: bool) -> None:
        found = compare(sets(BASE), sets(MAIN), sets([m + shift for m in MAIN]), (6,))
        assert found.none == none
        assert found.ended

    def test_recovered_wants_damage(self) -> None:
        found = compare(sets(BASE), sets(BASE), sets(BASE), (6,))
        assert found.recovered is None
        assert found.recovered_ci() is None
        assert (found.t, found.p, found.none) == (0, pytest.approx(0.5, abs=0.01), False)

    def test_sets_must_pair(self) -> None:
        with pytest.raises(InputError, match="at least 4"):
            compare(sets(BASE[:3]), sets(MAIN[:3]), sets(MAIN[:3]), LOOKS)
        with pytest.raises(InputError, match="seed sets: found 6, 6 and 5"):
            compare(sets(BASE), sets(MAIN), sets(BASE[:5]), LOOKS)


class TestLooks:
    @pytest.mark.parametrize("level", [0.05, 0.05 / 6, 1e-4])
    @pytest.mark.parametrize("within", [0, 9])
    def test_the_boundaries_spend_the_level(self, level: float, within: int) -> None:
        """By other random numbers, without weights, where a plain simulation can tell."""
        test, n = Sequential(LOOKS, within), 400_000
        rng = np.random.default_rng(7)
        x = rng.standard_normal((n, LOOKS[-1]))
        inner = rng.chisquare(max(within, 1), (n, LOOKS[-1])) * (within > 0)
        crossed, spent = np.zeros(n, bool), []
        for look, bound in zip(LOOKS, test.boundary(level), strict=True):
            squares = x[:, :look].var(axis=1) * look + inner[:, :look].sum(axis=1)
            spread = np.sqrt(squares / (look - 1 + within * look))
            crossed |= x[:, :look].mean(axis=1) * math.sqrt(look) >= bound * spread
            spent.append(crossed.mean())
        for look, found in zip(LOOKS, spent, strict=True):
            wanted = spending(level, look / LOOKS[-1])
            error = MonteCarlo * math.sqrt(max(wanted, 1 / n) / n) + 0.05 * wanted
            assert found == pytest.approx(wanted, abs=error)

    def test_one_look_is_student_s(self) -> None:
        for level in (0.05, 0.01, 1e-3):
            (bound,) = Sequential((6,)).boundary(level)
            assert bound == pytest.approx(stats.t.isf(level, 5))
            found = Sequential((6,)).margins(2 * level, (level, level), 0, 3.0)
            assert found == pytest.approx([stats.t.isf(level, 5)] * 2)

    @pytest.mark.slow
    def test_p_values_are_uniform_under_the_hypothesis(self) -> None:
        """Also where it has stopped early: P(p ≤ u) = u, here for u at both ends of a look."""
        rng, p = np.random.default_rng(1), []
        for _ in range(3000):
            base, main, guided = trio(rng, 2.0 - LEAST)
            p.append(compare(base, main, guided, LOOKS).p)
        for u in (0.02, 0.05, 0.2):
            error = MonteCarlo * math.sqrt(u * (1 - u) / 3000)
            # those shown to have no gain stop before they can cross later, so p may be too large
            assert np.mean(np.array(p) <= u) <= u + error
        assert np.mean(np.array(p) <= 0.05) >= 0.03

    def test_looks_that_do_not_rise_are_an_input_error(self) -> None:
        for looks in ((), (1, 4), (6, 4), (4, 4)):
            with pytest.raises(InputError, match="looks"):
                Sequential(looks)


@pytest.mark.slow
@pytest.mark.parametrize("recovered", [0.0, 0.05, 0.15, 0.4, 0.9])
def test_intervals_cover_wherever_the_looks_end(recovered: float) -> None:
    """95 % less the Monte-Carlo error."""
    rng, hits, n = np.random.default_rng(2), 0, 800
    for _ in range(n):
        base, main, guided = trio(rng, 2.0 - recovered)
        interval = compare(base, main, guided, LOOKS, 0.05 / 6).recovered_ci()
        assert interval is not None
        hits += interval[0] <= recovered <= interval[1]
    assert hits / n > 0.95 - MonteCarlo * math.sqrt(0.95 * 0.05 / n)


def verdicts(rng: np.random.Generator, gains: Sequence[float], looks: Sequence[int]) -> list[str]:
    """The verdicts of a study whose cells have these gains, and a damage of 1."""
    correction = Correction.of(len(gains))
    found = [
        compare(*trio(rng, 2.0 - gain, looks[-1]), looks, correction.strictest) for gain in gains
    ]
    findings = correction.findings([each.p for each in found])
    return [
        "improves" if finding else "no gain" if each.none else "undecided"
        for each, finding in zip(found, findings, strict=True)
    ]


@pytest.mark.slow
def test_a_study_of_a_hundred_null_cells_rarely_finds_a_gain() -> None:
    """In at most 5 % of such studies a single one is called a gain, at the worst null gain."""
    rng, n = np.random.default_rng(3), 60
    false = sum("improves" in verdicts(rng, [LEAST] * 100, LOOKS) for _ in range(n))
    assert false / n <= 0.05 + MonteCarlo * math.sqrt(0.05 * 0.95 / n)


@pytest.mark.slow
def test_simultaneous_intervals_cover_together() -> None:
    """All six of a study's, at the coverage of a handful, in at least 94 % of the studies."""
    rng, hits, n, gains = np.random.default_rng(4), 0, 200, (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)
    correction = Correction.of(len(gains))
    for _ in range(n):
        held = True
        for gain in gains:
            found = compare(*trio(rng, 2.0 - gain), LOOKS, correction.strictest)
            interval = found.recovered_ci(correction.coverage(1))
            assert interval is not None
            held &= interval[0] <= gain <= interval[1]
        hits += held
    assert hits / n > 0.95 - MonteCarlo * math.sqrt(0.95 * 0.05 / n)


def test_looking_early_saves_seed_sets_and_changes_no_clear_verdict() -> None:
    rng, gains = np.random.default_rng(5), [1.0, 0.8, -0.5, 0.9, -0.3, 1.0]
    used = [compare(*trio(rng, 2.0 - gain), LOOKS, 0.05 / 6).sets for gain in gains]
    assert np.mean(used) <= 0.7 * 6
    assert verdicts(rng, gains, LOOKS) == verdicts(rng, gains, (6,))


class TestCorrection:
    def test_benjamini_yekutieli_is_statsmodels(self) -> None:
        """By its definition: the largest k with p₍k₎ ≤ 0.05·k/(m·Σ1/i)."""
        p = [1e-6, 2e-4, 5e-4, 0.003, 0.02, 0.04, 0.2, 0.5, *np.linspace(0.3, 1, 22)]
        correction = Correction.of(len(p))
        assert correction.method == "benjamini-yekutieli"
        harmonic = sum(1 / i for i in range(1, 31))
        ranked = sorted(p)
        k = max(i for i in range(1, 31) if ranked[i - 1] <= 0.05 * i / (30 * harmonic))
        assert sum(correction.findings(p)) == k == 3
        assert correction.coverage(k) == pytest.approx(1 - 0.05 * k / (30 * harmonic))
        assert correction.findings([1.0] * 30) == [False] * 30

    def test_a_handful_is_bonferroni_s(self) -> None:
        correction = Correction.of(6)
        assert correction.findings([0.008, 0.009, 1, 1, 1, 1]) == [True, *[False] * 5]
        assert correction.coverage(3) == pytest.approx(1 - 0.05 / 6)
        assert Correction.of(1).findings([0.049]) == [True]
        with pytest.raises(InputError, match="p-values"):
            correction.findings([0.5])
        with pytest.raises(InputError, match="comparisons"):
            Correction("none", 0)
