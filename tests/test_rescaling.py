"""The best rescaling of a main alone, as a control of what guidance adds beyond a temperature."""

import dataclasses
import math
from collections.abc import Callable

import pytest

from degradations import ScoreError, SigmaError, parse
from study.models import ExactGaussian
from study.records import rescaling
from study.records.confirmation import Sets, share
from study.records.results import Results
from study.records.task import Evaluation, Outcome
from study.specs import PairingSpec, SamplerSpec, StudySpec

MAIN = "noise(0.2)"
PAIRING = PairingSpec(MAIN, "noise(0.4)")


def tuned(
    curves: dict[str, Callable[[float], float]], sampler: SamplerSpec | None = None
) -> tuple[Results, list[str]]:
    """A tuning that went on until it ended of itself, where FD of each kind is a known curve."""
    spec = StudySpec("x", base="digits", pairings=(PAIRING,), sampler=sampler or SamplerSpec())
    results, tried = Results(spec, {PAIRING: []}, {}), []
    while (task := rescaling.propose(results, MAIN)) is not None:
        name = task.main.removeprefix(MAIN).removeprefix("+")
        kind, strength = (name.split("(")[0], parse(name).strength) if name else ("score", 0.0)  # type: ignore[attr-defined]
        if task.churn_noise is not None:
            kind, strength = rescaling.CHURN, task.churn_noise / spec.sampler.churn_noise - 1
        scores = {"fd_pixels": curves[kind](strength)}
        evaluation = Evaluation(task, Outcome(scores if math.isfinite(scores["fd_pixels"]) else {}))
        results = dataclasses.replace(results, shared={**results.shared, task: evaluation})
        tried.append(task.name)
    return results, tried


def best_name(results: Results) -> str:
    task = rescaling.best(results, MAIN, "fd_pixels")
    assert task is not None
    return task.name.replace(" alone", "")


def valley(least: float, depth: float = 1.0) -> Callable[[float], float]:
    return lambda a: 5.0 * math.exp(depth * ((a - least) ** 2 - least**2))


class TestTuning:
    @pytest.mark.parametrize("least", [0.3, 0.02, -0.11, -0.4])
    def test_it_finds_the_least_fd_on_either_side(self, least: float) -> None:
        results, tried = tuned({"score": valley(least), "sigma": valley(0.0)})
        assert best_name(results) == f"{MAIN}+score({least:g})"
        assert len(tried) == len(set(tried)) <= 1 + 2 * rescaling.TRIALS

    def test_the_better_kind_is_taken(self) -> None:
        results, _ = tuned({"score": valley(0.1, 2), "sigma": valley(0.1, 4)})
        assert best_name(results) == f"{MAIN}+sigma(0.1)"

    def test_where_no_rescaling_helps_it_is_the_main_itself(self) -> None:
        results, tried = tuned({"score": valley(0.0), "sigma": valley(0.0)})
        assert best_name(results) == MAIN
        assert len(tried) == 5

    def test_a_failed_evaluation_is_passed_over(self) -> None:
        """Beyond 0.15 the samples are not finite."""
        curve = valley(0.3)
        limited = {"score": lambda a: curve(a) if a < 0.15 else math.inf, "sigma": valley(0.0)}
        results, _ = tuned(limited)
        assert best_name(results) == f"{MAIN}+score(0.1)"

    def test_it_is_not_known_before_the_tuning_has_ended(self) -> None:
        results, _ = tuned({"score": valley(0.1), "sigma": valley(0.0)})
        some = dict(list(results.shared.items())[:-1])
        assert rescaling.best(dataclasses.replace(results, shared=some), MAIN, "fd_pixels") is None
        assert rescaling.best(results, MAIN, "fd_digits") is None  # nothing measured it

    def test_the_base_as_a_main_has_the_name_of_the_kind_alone(self) -> None:
        results, _ = tuned({"score": valley(0.0), "sigma": valley(0.0)})
        assert rescaling.rescaled(results, "none", "sigma", -0.05).main == "sigma(-0.05)"
        small = rescaling.rescaled(results, MAIN, "score", 1e-05)
        assert str(parse(small.main)) == f"{MAIN}+score(1e-05)"

    def test_a_strength_next_to_one_that_was_tried_is_not_tried(self) -> None:
        """Of a curve that is no parabola every fit has its minimum a little beside the last one."""
        curves = {"score": lambda a: 5 * math.exp(20 * abs(a - 0.028) ** 1.5), "sigma": valley(0.0)}
        results, tried = tuned(curves)
        assert best_name(results) == f"{MAIN}+score(0.029)"
        assert len([name for name in tried if "score" in name]) == 4

    def test_with_churn_the_fresh_noise_is_rescaled_too(self) -> None:
        sampler = SamplerSpec(churn=10.0, churn_noise=1.007)
        none = valley(0.0)
        results, tried = tuned({"score": none, "sigma": none, "S_noise": valley(-0.1)}, sampler)
        best = rescaling.best(results, MAIN, "fd_pixels")
        assert best is not None
        assert best.main == MAIN
        assert best.churn_noise == pytest.approx(0.9 * 1.007)
        assert f"{MAIN} alone, S_noise 0.9063" in tried
        results, tried = tuned({"score": none, "sigma": none, "S_noise": valley(-0.1)})
        assert not any("S_noise" in name for name in tried)  # without churn there is none


class TestKinds:
    def test_a_rescaling_undoes_its_own_damage(self) -> None:
        """Scores multiply; of N(0, s²) with D = x·s²/(s² + σ²) both kinds are factors of x."""
        import torch

        x, exact = torch.randn(5, 3), ExactGaussian(std=0.75)
        wrong = ScoreError(1 / 1.25 - 1)(ScoreError(0.25)(exact))
        torch.testing.assert_close(wrong(x, 0.8), exact(x, 0.8))
        low = SigmaError(-0.2)(exact)(x, 0.8)
        torch.testing.assert_close(low, x * 0.75**2 / (0.75**2 + (0.8 * 0.8) ** 2))

    def test_a_sample_narrows_as_its_score_grows(self) -> None:
        """Of N(0, s²), dx/dσ = (1 + a)·σx/(s² + σ²): the deviation is s·(s²/(s² + σ²max))^(a/2)."""
        from study.sampling import sample

        for a in (0.2, -0.2):
            drawn = sample(
                ScoreError(a)(ExactGaussian(std=0.75)),
                shape=(4000, 1),
                solver="heun",
                steps=64,
                sigma_min=0.002,
                sigma_max=40,
                seed=0,
            )
            start = 40 / math.sqrt(0.75**2 + 40**2)  # noise of σmax alone, without the data
            expected = 0.75 * (0.75**2 / (0.75**2 + 40**2)) ** (a / 2) * start
            assert float(drawn.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * 4000))


class TestShare:
    def test_it_is_a_ratio_of_paired_means_with_its_standard_error(self) -> None:
        from scipy import stats

        d, c = [0.5, 0.6, 0.4, 0.55], [1.0, 1.1, 0.9, 1.0]
        ratio = sum(d) / sum(c)
        rest = [(a - ratio * b) / (sum(c) / 4) for a, b in zip(d, c, strict=True)]
        assert share(Sets.of(d), Sets.of(c)) == pytest.approx((ratio, stats.sem(rest)))

    def test_nothing_is_shared_without_damage(self) -> None:
        assert share(Sets.of([0.1, 0.2]), Sets.of([0.1, -0.1])) is None
