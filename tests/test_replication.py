"""What holds over bases: intervals, where variance comes from, the rows of the table."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from degradations import InputError
from study.records.confirmation import LEAST, Sets
from study.records.replication import OverBases, mean_over, spread
from study.records.results import Results
from study.records.task import Evaluation, Outcome, Task
from study.report.replication import frame, render, rows
from study.specs import CalibrateSpec, ConfirmSpec, MatrixSpec, PairingSpec, SearchSpec, StudySpec

TENTHS = 10
MonteCarlo = 4  # standard errors


class TestOverBases:
    GAIN, DAMAGE = [0.9, 1.1, 0.8, 1.2, 1.0], [1.0, 1.3, 0.9, 1.2, 1.1]

    def test_it_is_the_paired_t_test_of_base_means(self) -> None:
        found = OverBases(self.GAIN, self.DAMAGE, self.GAIN)
        rest = np.subtract(self.GAIN, LEAST * np.array(self.DAMAGE))
        assert found.p == pytest.approx(stats.ttest_1samp(rest, 0, alternative="greater").pvalue)
        recovered = found.recovered()
        assert recovered is not None
        ratio = sum(self.GAIN) / sum(self.DAMAGE)
        left = np.subtract(self.GAIN, ratio * np.array(self.DAMAGE)) / np.mean(self.DAMAGE)
        half = stats.t.ppf(0.975, 4) * stats.sem(left)
        assert (recovered.mean, recovered.high) == pytest.approx((ratio, ratio + half))

    def test_no_gain_is_shown_at_the_tested_weights(self) -> None:
        """Where the searches preferred 1, nothing is gained there, and the tested weights lose."""
        damage = [1.0, 1.1, 0.9]
        assert OverBases([0.0] * 3, damage, [-0.1, -0.2, -0.15]).is_none
        assert not OverBases([0.0] * 3, damage, [0.1, -0.2, 0.15]).is_none

    def test_recovered_wants_damage(self) -> None:
        assert OverBases([0.1, 0.2], [0.1, -0.1], [0.1, 0.2]).recovered() is None

    def test_one_base_has_no_interval(self) -> None:
        with pytest.raises(InputError, match="bases: found 1; accepted: at least 2"):
            OverBases([1.0], [1.0], [1.0])
        assert mean_over([1.0]) is None


def simulated(
    rng: np.random.Generator, training: float, sampling: float, bases: int, sets: int
) -> list[Sets]:
    """A quantity of bases that differ by `training`, whose sets differ by `sampling`."""
    found = []
    for mean in rng.normal(5, training, bases):
        tenths = rng.normal(mean, sampling * math.sqrt(TENTHS), (sets, TENTHS))
        values = tenths.mean(axis=1)
        left = (TENTHS * values[:, None] - tenths) / (TENTHS - 1)
        found.append(Sets.of(list(values), [list(row) for row in left]))
    return found


class TestSpread:
    def test_the_components_are_those_of_the_simulation(self) -> None:
        """Their squares are unbiased, where they are far from 0."""
        rng, found = np.random.default_rng(0), []
        for _ in range(300):
            each = spread(simulated(rng, 2.0, 1.0, 8, 3), (), own_reference=False)
            found.append([each.training.mean**2, each.sampling.mean**2])
        mean, error = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(300)
        assert mean == pytest.approx([4.0, 1.0], abs=float(MonteCarlo * error.max()))

    @pytest.mark.slow
    @pytest.mark.parametrize(("training", "sampling"), [(1.0, 1.0), (3.0, 1.0), (0.3, 1.0)])
    def test_their_intervals_cover(self, training: float, sampling: float) -> None:
        rng, n, hits = np.random.default_rng(1), 300, np.zeros(2)
        for _ in range(n):
            each = spread(simulated(rng, training, sampling, 5, 3), (), own_reference=False)
            hits += [
                each.training.low <= training <= each.training.high,
                each.sampling.low <= sampling <= each.sampling.high,
            ]
        assert (hits / n > 0.95 - MonteCarlo * math.sqrt(0.95 * 0.05 / n)).all()

    def test_bases_that_do_not_differ_have_none_of_training(self) -> None:
        rng = np.random.default_rng(2)
        low = [
            spread(simulated(rng, 0.0, 1.0, 5, 3), (), own_reference=False).training.low
            for _ in range(200)
        ]
        assert np.mean(np.array(low) == 0) > 0.95

    def test_the_reference_s_is_the_jackknife_s(self) -> None:
        """The standard error of a mean of tenths, and part of the bases' own if each has its."""
        rng = np.random.default_rng(3)
        bases = simulated(rng, 2.0, 0.1, 6, 2)
        tenths = rng.normal(0, 1.0, (6, TENTHS))
        shifts = (tenths.sum(1, keepdims=True) - tenths) / (TENTHS - 1)
        by_reference = [
            Sets(each.values, each.values[:, None] + shift)
            for each, shift in zip(bases, shifts, strict=True)
        ]
        expected = np.sqrt(np.mean(tenths.var(axis=1, ddof=1) / TENTHS))
        common = spread(bases, by_reference, own_reference=False)
        own = spread(bases, by_reference, own_reference=True)
        assert common.reference is not None
        assert common.reference.mean == pytest.approx(expected)
        apart = common.training.mean**2 - own.training.mean**2
        assert apart == pytest.approx(expected**2)
        # what the reference may be is taken from the interval, too
        assert own.training.low < common.training.low
        assert own.training.high < common.training.high

    def test_one_set_of_one_sample_says_nothing(self) -> None:
        with pytest.raises(InputError, match="bases: found 1"):
            spread([Sets.of([1.0, 2.0])], (), own_reference=False)
        with pytest.raises(InputError, match="seed sets: found one of a base"):
            spread([Sets.of([1.0]), Sets.of([2.0])], (), own_reference=False)


NAMES = ("a", "b", "c")
PAIRING = PairingSpec("noise(0.2)", "noise(0.4)", "shared")
REPEATED = StudySpec(
    "x",
    bases=NAMES,
    pairings=(PAIRING,),
    confirm=ConfirmSpec(samples=100, seed_sets=4, controls=False),
    search=SearchSpec(samples=100),
)


def on_base(base: str, best: float, gain: float, spec: StudySpec = REPEATED) -> Results:
    """A finished study of a base: FD of the base 1, of the main 2, less `gain` at weight `best`.

    The search found `best` (1: it preferred the main); all scores vary a little over seed sets.
    """
    own = spec.of_base(base)
    results = Results(own, {pairing: [] for pairing in own.pairings}, {})
    rng, shared = np.random.default_rng(NAMES.index(base)), {}

    def score(task: Task, fd: float) -> Evaluation:
        value = fd + rng.normal(0, 0.01)
        left_out = [value + rng.normal(0, 0.001) for _ in range(10)]
        return Evaluation(task, Outcome({"fd_pixels": value}, {"fd_pixels": left_out}))

    for pairing in own.pairings:
        singles = {"none": 1.0, pairing.main: 2.0, pairing.guide: 4.0}
        weights = [best] if best != 1 else results.beside
        tasks = {
            task: fd for name, fd in singles.items() for task in results.confirmed_single(name)
        } | {
            task: 2.0 - gain
            for weight in weights
            for task in results.confirmed(results.searched(pairing, weight))
        }
        shared |= {task: score(task, fd) for task, fd in tasks.items()}
        tried = {round(w, 2) for w in (1.0, 1.1, 0.9, best, best + 0.3, best - 0.3)}
        curve = {w: 2.0 + 6 * (w - best) ** 2 for w in tried}
        results.searches[pairing].extend(  # type: ignore[attr-defined]
            score(results.searched(pairing, w), fd) for w, fd in curve.items()
        )
    return dataclasses.replace(results, shared=shared)


def only(bases: dict[str, Results], spec: StudySpec = REPEATED) -> dict[str, Any]:
    (row,) = rows(spec, bases)
    return row


class TestRows:
    def test_a_gain_on_all_bases_improves(self) -> None:
        row = only({base: on_base(base, 1.8, 0.9) for base in NAMES})
        assert row["verdict"] == "improves"
        assert row["recovered"] == pytest.approx(0.9, abs=0.05)
        assert row["recovered_ci"][0] < 0.9 < row["recovered_ci"][1]
        assert row["fd"] == pytest.approx(1.1, abs=0.05)
        assert [round(weight, 1) for weight in row["weights"]] == [1.8] * 3

    def test_nothing_is_concluded_before_the_last_base(self) -> None:
        two = {base: on_base(base, 1.8, 0.9) for base in NAMES[:2]}
        row = only(two)
        assert (row["verdict"], row["bases"]) == ("undecided", ["a", "b"])
        unfinished = on_base("c", 1.8, 0.9)
        few = dict(list(unfinished.shared.items())[:5])
        row = only({**two, "c": dataclasses.replace(unfinished, shared=few)})
        assert (row["verdict"], row["weights"][2]) == ("undecided", None)
        none = {base: on_base(base, 1.0, -0.2) for base in NAMES[:2]}
        assert only(none)["verdict"] == "undecided"

    def test_bases_that_gain_on_different_sides_of_one_decide_nothing(self) -> None:
        sides = {"a": 1.8, "b": 0.7, "c": 0.7}
        row = only({base: on_base(base, best, 0.9) for base, best in sides.items()})
        assert row["verdict"] == "undecided"
        assert row["recovered_ci"] is not None
        blends = {base: on_base(base, 0.7, 0.9) for base in NAMES}
        assert only(blends)["verdict"] == "blends"

    def test_where_a_search_preferred_one_nothing_is_gained(self) -> None:
        """The weights beside 1 are tested, and gain less than nothing."""
        row = only({base: on_base(base, 1.0, -0.2) for base in NAMES})
        assert (row["verdict"], row["weights"]) == ("no gain", [1.0] * 3)
        assert row["gains"] == [0.0] * 3
        assert row["spread"]["gain"]["training"] == [0.0] * 3

    def test_own_pairings_are_not_taken_for_those_of_the_matrix(self) -> None:
        """Two own pairings of equal kinds are two rows, not twice as many bases."""
        other = PairingSpec("noise(0.2)", "noise(0.6)", "shared")
        spec = dataclasses.replace(REPEATED, pairings=(PAIRING, other), matrix=MatrixSpec())
        found = rows(spec, {base: on_base(base, 1.8, 0.9, spec) for base in NAMES})
        assert [row["guide"] for row in found] == ["noise(0.4)", "noise(0.6)"]
        assert all(len(row["bases"]) == 3 for row in found)

    def test_each_base_has_seeds_of_its_own(self) -> None:
        most = ConfirmSpec(seed_sets=1000)
        calibrated = CalibrateSpec(seed_sets=100)
        spec = dataclasses.replace(REPEATED, confirm=most, calibrate=calibrated)
        used = [{*own.seeds, *own.calibration_seeds} for own in map(spec.of_base, NAMES)]
        assert not used[0] & used[1]
        assert not used[1] & used[2]

    def test_the_table_can_be_shown_at_any_time(self) -> None:
        for bases in ({"a": on_base("a", 1.8, 0.9)}, {b: on_base(b, 1.8, 0.9) for b in NAMES}):
            for form in ("md", "csv", "json", "latex"):
                assert "noise" in render(rows(REPEATED, bases), form)
        assert "3" in frame(rows(REPEATED, bases))["bases"].astype(str).iloc[0]
