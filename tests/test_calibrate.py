"""Calibration against laws of damage that are known."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from degradations import InputError, RunError, kinds, parse
from study.engine.calibrate import Calibration, calibrate, first_strength
from study.records import damage
from study.records.results import Results
from study.records.task import BASE, Evaluation, Outcome, Task
from study.specs import CalibrateSpec, ConfirmSpec, StudySpec

FD = "fd_pixels"
# from the strength to FD relative to the base's; None: the evaluation failed
Law = Callable[[float], float | None]


def begun(**spec: object) -> Results:
    """A study of which the base alone is known, with an FD of 2."""
    study = StudySpec("x", base="digits", calibrate=CalibrateSpec(**spec))  # type: ignore[arg-type]
    results = Results(study, {}, {})
    base = results.single(BASE)
    return Results(study, {}, {base: Evaluation(base, Outcome({FD: 2.0}))})


def calibrated(kind: str, law: Law, **spec: object) -> tuple[Calibration, list[float]]:
    """Evaluate what is proposed until nothing is; returns where it ended, and the strengths in
    order.

    Everything that is known is shuffled in between, since the order in which it was found must not
    count.
    """
    results, strengths = begun(**spec), []
    while (strength := calibrate(results, kind).next) is not None:
        assert strength not in strengths
        made = kinds()[kind](strength)  # rejects a strength that it does not have
        assert strength != made.identity
        assert strength == float(f"{strength:.3g}")
        strengths.append(strength)
        ratio, task = law(strength), results.single(str(made))
        outcome = Outcome() if ratio is None else Outcome({FD: 2.0 * ratio})
        known = [*results.shared.items(), (task, Evaluation(task, outcome))]
        random.Random(len(known)).shuffle(known)
        results = Results(results.spec, {}, dict(known))
    assert len(strengths) <= results.spec.calibrate.trials
    return calibrate(results, kind), strengths


def power(middle: float, exponent: float) -> Callable[[float], float]:
    """Damage that grows as a power of the strength: FD is 1.5 times the base's at `middle`, 3 at
    middle·4^(1/p)."""
    return lambda strength: 1 + 0.5 * (strength / middle) ** exponent


def rounding(middle: float, exponent: float) -> Callable[[float], float]:
    """Damage that falls with the bits as a power of the step 2^−k."""
    return lambda bits: 1 + 0.5 * 2 ** (exponent * (middle - bits))


RISING = [name for name, kind in kinds().items() if kind.rises]
FALLING = [name for name, kind in kinds().items() if not kind.rises]
WIDE = [name for name in RISING if min(kinds()[name].most, kinds()[name].below) > 100]
LAWS = [
    *(
        (kind, power(s * min(kinds()[kind].most, 1.0), p))
        for kind in RISING
        for s, p in [(0.002, 0.5), (0.03, 0.5), (0.05, 1), (0.2, 2), (0.6, 4)]
    ),
    *((kind, power(s, p)) for kind in WIDE for s, p in [(8, 1), (30, 3)]),
    *(
        (kind, rounding(bits, p))
        for kind in FALLING
        for bits, p in [(3.3, 1), (5.0, 2), (12.3, 2), (6.4, 4)]
    ),
]


@pytest.mark.parametrize(("kind", "law"), LAWS, ids=[name for name, _ in LAWS])
@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_strengths_of_equal_damage_are_found(
    kind: str, law: Callable[[float], float], tolerance: float
) -> None:
    levels = (1.5, 3.0)
    found, strengths = calibrated(kind, law, levels=levels, tolerance=tolerance)
    assert (found.found, found.next, found.reason) == (True, None, "")
    for i, level in enumerate(levels):
        strength, ratio = found.strengths[i], found.ratios[i]
        assert strength in strengths
        assert strength is not None
        assert ratio == pytest.approx(law(strength))
        assert ratio == pytest.approx(level, rel=tolerance)
        assert found.name(i) == str(kinds()[kind](strength))
        assert parse(found.name(i)) == kinds()[kind](strength)
    assert strengths[0] == first_strength(kinds()[kind])
    assert len(strengths) <= 25  # of 30, and the first few go outwards by factors of 2


@pytest.mark.parametrize("kind", kinds())
def test_a_level_that_no_strength_reaches_says_so(kind: str) -> None:
    """And the one below it is found; the last strength tried is the worst that the kind has, or
    just before its end."""
    rises = kinds()[kind].rises
    end = (
        min(100.0, kinds()[kind].most, 0.99 if kinds()[kind].below == 1 else math.inf)
        if rises
        else kinds()[kind].least
    )
    weak = power(0.05, 1) if rises else rounding(6.5, 1)
    found, strengths = calibrated(kind, lambda s: min(weak(s), 2.0))
    assert found.strengths[0] is not None
    assert (found.strengths[1], found.found, found.next) == (None, False, None)
    assert found.reason.startswith("the damage reaches at most 2, at ")
    assert end in strengths
    assert max(strengths) == end or min(strengths) == end


@pytest.mark.parametrize("kind", kinds())
def test_a_level_that_the_weakest_strength_exceeds_says_so(kind: str) -> None:
    found, strengths = calibrated(kind, lambda strength: 2.0)
    weakest = 1e-4 if kinds()[kind].rises else 16
    assert found.strengths == (None, None)
    assert found.reason == f"even the weakest, {kind}({weakest:g}), does more damage than 1.5"
    assert weakest in strengths


@pytest.mark.parametrize("at", [0.0123, 0.0777, 0.1, 0.345, 0.71])
def test_damage_that_jumps_past_a_level_says_so(at: float) -> None:
    found, strengths = calibrated("noise", lambda strength: 1.0 if strength < at else 5.0)
    assert found.strengths == (None, None)
    assert found.reason.startswith("the damage jumps past 1.5 at noise(")
    assert float(found.reason.split("(")[1].rstrip(")")) == pytest.approx(at, rel=0.02)
    assert min(abs(strength / at - 1) for strength in strengths) < 0.02


def test_a_kind_with_few_effects_jumps() -> None:
    """Bits that count only when they are whole."""
    found, _ = calibrated(
        "quantize",
        lambda bits: {7: 1.01, 6: 1.1, 5: 1.3, 4: 2.6, 3: 9.0}.get(math.ceil(bits), 20.0),
    )
    assert found.strengths == (None, None)
    assert "jumps past 1.5" in found.reason


@pytest.mark.parametrize("trials", [2, 3, 5])
def test_a_calibration_keeps_within_its_trials(trials: int) -> None:
    found, strengths = calibrated("noise", power(8.0, 3), trials=trials, tolerance=0.001)
    assert len(strengths) == trials
    assert found.reason == f"no strength within 0.001 of 1.5 after {trials} evaluations"
    assert not found.found


def test_a_strength_that_could_not_be_evaluated_is_too_strong() -> None:
    law = power(0.15, 1)
    found, strengths = calibrated(
        "noise", lambda strength: None if strength >= 0.2 else law(strength), levels=(1.5,)
    )
    assert 0.2 in strengths
    assert found.ratios[0] == pytest.approx(1.5, rel=0.05)
    found, _ = calibrated("noise", lambda strength: None)
    assert found.reason.startswith("even the weakest, noise(0.0001), does more damage")


def test_levels_share_what_is_known() -> None:
    """A level within the tolerance of another's strength costs nothing more; the nearest strength
    is taken."""
    law = power(0.1, 1)
    one, few = calibrated("noise", law, levels=(1.5,))
    both, as_few = calibrated("noise", law, levels=(1.5, 1.52))
    assert few == as_few == [0.1]
    assert one.strengths == (0.1,)
    assert both.strengths == (0.1, 0.1)


def test_only_the_kind_alone_on_the_search_s_seed_counts() -> None:
    results = begun()
    single = results.single("noise(0.1)")
    others = [
        *(
            results.single(name)
            for name in ("noise(0.1)+dropout(0.1)", "dropout(0.1)", "input-blur(0.1)")
        ),
        *results.confirmed_single("noise(0.1)"),
        Task(**{**vars(single), "guide": "noise(0.4)", "weight": 2.0}),
    ]
    shared = {**results.shared, **{task: Evaluation(task, Outcome({FD: 3.0})) for task in others}}
    assert calibrate(Results(results.spec, {}, shared), "noise").next == 0.1
    weighted = results.single("weight-noise(0.1, seed=1)")
    shared = {**results.shared, weighted: Evaluation(weighted, Outcome({FD: 3.0}))}
    assert calibrate(Results(results.spec, {}, shared), "weight-noise").next == 0.1
    shared = {**results.shared, single: Evaluation(single, Outcome({FD: 3.0}))}
    assert calibrate(Results(results.spec, {}, shared), "noise").strengths[0] == 0.1


def test_without_the_base_s_score_nothing_is_calibrated() -> None:
    results = begun()
    base = results.single(BASE)
    with pytest.raises(RunError, match="the base could not be scored: not finite"):
        calibrate(Results(results.spec, {}, {base: Evaluation(base, reason="not finite")}), "noise")


class TestDamage:
    """What is made equal, on evaluations that are known."""

    @staticmethod
    def known(spec: CalibrateSpec, values: dict[str, list[dict[str, object]]]) -> Results:
        """A study with outcomes of denoisers, one for each of the calibration's seeds."""
        study = StudySpec("x", base="digits", calibrate=spec)
        results = Results(study, {}, {})
        shared = {}
        for name, found in values.items():
            wanted = damage.tasks(results, name)
            assert len(wanted) in (0, len(found))
            for task, each in zip(wanted, found, strict=False):
                reason = "" if each["scores"] else "not finite"
                shared[task] = Evaluation(task, Outcome(**each), reason)  # type: ignore[arg-type]
        return Results(study, {}, shared)

    def test_fd_is_averaged_over_paired_seeds_with_its_error(self) -> None:
        from scipy import stats

        base, main = [2.0, 2.2, 1.9], [3.1, 3.2, 2.9]
        outcomes = {
            name: [{"scores": {FD: fd}} for fd in values]
            for name, values in {BASE: base, "noise(0.2)": main}.items()
        }
        results = self.known(CalibrateSpec(seed_sets=3), outcomes)
        found = damage.damage(results, "noise(0.2)")
        ratio = sum(main) / sum(base)
        rest = [m - ratio * b for m, b in zip(main, base, strict=True)]
        assert found == pytest.approx((ratio, stats.sem(rest) / (sum(base) / 3)))

    def test_the_seeds_are_not_those_of_a_confirmation(self) -> None:
        study = StudySpec("x", base="digits", calibrate=CalibrateSpec(seed_sets=100), seed=5)
        most = StudySpec("x", base="digits", confirm=ConfirmSpec(seed_sets=1000), seed=5)
        assert study.calibration_seeds[0] == 5
        assert len(set(study.calibration_seeds)) == 100
        assert not set(study.calibration_seeds) & set(most.seeds)

    def test_without_the_bias_of_few_samples(self) -> None:
        """FD(n) = FD∞ + b/n, of n = 100 and 90: 1 + 20/n and 3 + 60/n."""

        def outcome(limit: float, b: float) -> dict[str, object]:
            return {"scores": {FD: limit + b / 100}, "replicates": {FD: [limit + b / 90] * 10}}

        outcomes = {BASE: [outcome(1, 20)], "noise(0.2)": [outcome(3, 60)]}
        found = damage.damage(self.known(CalibrateSpec(by="fd-infinity"), outcomes), "noise(0.2)")
        assert found is not None
        assert found[0] == pytest.approx(3.0)

    def test_recall_is_that_of_the_data_not_covered(self) -> None:
        outcomes = {
            name: [{"scores": {FD: 1.0, "recall_pixels": recall}}]
            for name, recall in {BASE: 0.9, "noise(0.2)": 0.75}.items()
        }
        results = self.known(CalibrateSpec(by="recall"), outcomes)
        assert damage.damage(results, "noise(0.2)") == (pytest.approx(2.5), None)

    def test_the_error_along_trajectories_needs_no_base(self) -> None:
        spec = CalibrateSpec(by="trajectory-error", levels=(0.05, 0.1), seed_sets=2)
        outcomes = {"noise(0.2)": [{"scores": {"trajectory_error": e}} for e in (0.04, 0.06)]}
        results = self.known(spec, outcomes)
        assert damage.tasks(results, BASE) == []
        assert damage.damage(results, "noise(0.2)") == pytest.approx((0.05, 0.01))
        assert damage.damage(results, "noise(0.3)") is None

    @pytest.mark.parametrize(
        ("by", "scores", "message"),
        [
            ("recall", {FD: 1.0}, "found recall, which the evaluations of the base do not have"),
            ("recall", {FD: 1.0, "recall_pixels": 1.0}, "by which the base has 0 ± 0;"),
            ("fd", {}, "the base could not be scored: not finite"),
        ],
    )
    def test_a_base_that_cannot_be_compared_with_is_named(
        self, by: Any, scores: dict[str, float], message: str
    ) -> None:
        results = self.known(CalibrateSpec(by=by), {BASE: [{"scores": scores}]})
        with pytest.raises(RunError, match=message):
            calibrate(results, "noise")

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"by": "fid"}, "calibrate.by: found 'fid'; accepted: fd, fd-infinity, recall"),
            (
                {"seed_sets": 0},
                "calibrate.seed_sets: found 0; accepted: at least 1 and at most 100",
            ),
            ({"levels": (0.5, 2.0)}, "calibrate.levels: .* accepted: numbers above 1, rising"),
            ({"levels": (0.0, 2.0), "by": "trajectory-error"}, "numbers above 0, rising"),
        ],
    )
    def test_bad_values_are_named(self, spec: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            CalibrateSpec(**spec)
