"""Intervals over bases, where variance comes from, and a study over several bases."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from degradations import InputError
from study.cli.main import call
from study.data import load_data
from study.records.confirmation import LEAST, Sets
from study.records.replication import OverBases, mean_over, spread
from study.records.results import Results
from study.records.task import Evaluation, Outcome, Task
from study.report.replication import frame, render, rows
from study.results import read
from study.specs import CalibrateSpec, ConfirmSpec, MatrixSpec, PairingSpec, SearchSpec, StudySpec
from tests.command_line import says

REPLICATED = "tests/replicated.yaml"
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


class TestBadInput:
    @pytest.mark.parametrize(
        ("bases", "message"),
        [
            (("digits",), "bases: found .*; accepted: at least two, for an interval over them"),
            (("digits", "digits"), "bases: found .*; accepted: each one once"),
            (("digits", "x" * 200), "name: found"),
        ],
    )
    def test_bases(self, bases: tuple[str, ...], message: str) -> None:
        with pytest.raises(InputError, match=message):
            StudySpec("x", bases=bases)

    def test_a_base_and_bases(self) -> None:
        with pytest.raises(InputError, match="nothing together with bases: --base null for them"):
            StudySpec("x", base="digits", bases=("digits", "digits-part"))

    @pytest.mark.parametrize(
        ("change", "texts"),
        [
            (
                ["--bases", "[digits, digits-part]"],
                ("nothing was held out from the base 'digits'",),
            ),
            (["--reference", "fractal"], ("the data set 'digits'", "'fractal'")),
            (["--recipe.samples", "0.001"], ("leaves out of training the classes", "of 'digits'")),
            (["--recipe.samples", "0.999"], ("no sample of the classes", "was held out")),
            (["--recipe.split", "-1"], ("recipe.split: found -1",)),
            (["--bases", "[base@split=x, base]"], ("split: found 'x'",)),
            (["--verify"], ("--retrain, --verify: found with bases",)),
        ],
    )
    def test_refused_before_anything_is_trained(
        self,
        change: list[str],
        texts: tuple[str, ...],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        root = tmp_path / "root"
        says(capsys, ["run", REPLICATED, *change, "--root", str(root)], 2, *texts)
        assert not (root / "bases").exists()

    def test_bases_that_differ_in_data(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from study.engine.bases import train_base
        from study.specs import NetworkSpec, RecipeSpec

        small = RecipeSpec("fractal", NetworkSpec(8, 8, 1, 4), steps=1, batch=8, samples=0.9)
        other = train_base(StudySpec("x", recipe=small, reference="fractal"), tmp_path / "other")
        argv = ["run", REPLICATED, "--bases", f"[digits-part, {other}]", "--root", str(tmp_path)]
        says(capsys, argv, 2, "bases: found digits-part of the data 'digits'", "of 'fractal'")

    @pytest.mark.parametrize("command", ["probe", "calibrate", "sample"])
    def test_a_command_that_needs_one_base_says_how_to_choose_it(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = [command, REPLICATED, "--root", str(tmp_path)]
        says(capsys, argv, 2, "bases: found 3, where one is needed; choose it by --bases [] --base")


class TestStudy:
    def test_splits_are_by_seed_and_cover_every_class(self) -> None:
        digits = load_data("digits")
        parts = [digits.split(0.8, seed) for seed in (0, 1)]
        held_out = [{row.numpy().tobytes() for row in part[1].samples} for part in parts]
        shared = len(held_out[0] & held_out[1]) / len(held_out[0])
        # by chance a fifth of one is in the other
        assert shared == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 * 0.8 / 359))
        assert all(part.missing == [] for pair in parts for part in pair)

    def test_a_study_over_bases(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        root = str(tmp_path)
        assert call(["run", REPLICATED, "--root", root]) == 0
        shown = capsys.readouterr().out
        assert "Intervals are over bases" in shown
        rows = self.table(root, capsys)
        (row,) = rows
        promised = "pairing main guide coupling metric samples steps seeds fd_base fd_main fd_guide"
        promised += " weight fd fd_sd recovered recovered_ci verdict slope slope_ci rule"
        assert set(promised.split()) <= row.keys()
        assert row["bases"] == ["base@split=0,seed=0", "base@split=1,seed=1", "base@split=2,seed=2"]
        assert set(row["spread"]["fd_main"]) == {"training", "sampling", "reference"}
        alone = [
            self.table(root, capsys, f"replicated.base-split-{n}-seed-{n}")[0] for n in range(3)
        ]
        assert row["fd_base"] == pytest.approx(np.mean([each["fd_base"] for each in alone]))
        assert len({each["fd_base"] for each in alone}) == 3
        for suffix in ("md", "csv", "json", "tex"):
            assert (tmp_path / "reports" / "replicated" / f"table.{suffix}").is_file()
        # nothing is left to do, for a worker, and for another run
        assert call(["worker", REPLICATED, "--root", root]) == 0
        capsys.readouterr()
        assert call(["run", REPLICATED, "--root", root]) == 0
        assert " alone: " not in capsys.readouterr().err
        assert self.table(root, capsys) == rows
        kept = tmp_path / "reports" / "replicated" / "table.json"
        assert call(["sync", "replicated", "--root", root]) == 0
        assert json.loads(kept.read_text(encoding="utf-8")) == rows
        frames = read("replicated", tmp_path)
        assert list(frames.table["fd_base"]) == [row["fd_base"]]
        assert set(frames.trials["base"]) == set(row["bases"]) == set(frames.bases)
        assert len(frames.trials) == sum(len(each.trials) for each in frames.bases.values())

    @staticmethod
    def table(
        root: str, capsys: pytest.CaptureFixture[str], name: str = "replicated"
    ) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert call(["table", name, "--root", root, "--format", "json"]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    def test_a_plan_is_of_one_base_and_says_so(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(["run", REPLICATED, "--plan", "--root", str(tmp_path)]) == 0
        assert "This is for base@split=0,seed=0, one of 3 bases." in capsys.readouterr().out
        assert not list(tmp_path.iterdir())
