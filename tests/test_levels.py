"""Networks with noise levels of their own are sampled as EDM samples them: within their range, at
their levels."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from degradations import (
    Denoiser,
    Draws,
    Dropout,
    Guided,
    InputError,
    InputNoise,
    Interval,
    Levels,
    Pair,
)
from study.checkpoints import Base
from study.cli.config import load_spec
from study.data import load_data
from study.engine.plan import estimate
from study.evaluation.evaluator import Evaluator
from study.models import ExactGaussian
from study.models.by_class import network_of_class
from study.records.task import Task
from study.sampling import Churn, edm_sigmas, sample
from tests.helpers import evaluator_for
from tests.published_networks import TINY
from tests.published_networks import levels as iddpm_levels

SIZES = {**TINY, "model_channels": 16, "img_resolution": 4}
RANGE = {"sigma_min": 1e-4, "sigma_max": 300.0}  # of the sampler, wider than any of these


def vp_level(t: float, beta_d: float = 19.9, beta_min: float = 0.1) -> float:
    return math.sqrt(math.expm1(beta_d * t**2 / 2 + beta_min * t))


IDDPM_LEVELS = [
    float(torch.tensor(u, dtype=torch.float32)) for u in iddpm_levels(0.001, 0.008, 1000)[:-1]
]
# The class, its arguments, the lowest and the highest of its levels, and all of them, where they
# are not a range.
CASES: dict[str, tuple[str, dict[str, Any], float, float, list[float]]] = {
    "VP": ("VPPrecond", {}, vp_level(1e-5), vp_level(1.0), []),
    "VP, others": (
        "VPPrecond",
        {"beta_d": 12.0, "beta_min": 0.3, "epsilon_t": 1e-3},
        vp_level(1e-3, 12.0, 0.3),
        vp_level(1.0, 12.0, 0.3),
        [],
    ),
    "VE": ("VEPrecond", {}, 0.02, 100.0, []),
    "VE, others": ("VEPrecond", {"sigma_min": 0.1, "sigma_max": 50.0}, 0.1, 50.0, []),
    "iDDPM": ("iDDPMPrecond", {}, IDDPM_LEVELS[-1], IDDPM_LEVELS[0], IDDPM_LEVELS),
    "EDM": ("EDMPrecond", {"sigma_min": 0.5, "sigma_max": 20.0}, 0.5, 20.0, []),
    "EDM, any": ("EDMPrecond", {}, 0.0, math.inf, []),
}
every = pytest.mark.parametrize("case", CASES)


def network(case: str) -> Denoiser:
    """A denoiser of the class, random, in float64."""
    class_name, arguments, *_ = CASES[case]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = network_of_class(class_name, {**SIZES, **arguments})
        for parameter in denoiser.parameters():
            parameter.data = parameter.data + 0.1 * torch.randn_like(parameter)
    return denoiser.double().eval().requires_grad_(False)


def by_the_rule(
    d: Denoiser, case: str, x: Tensor, steps: int, fresh: Callable[[Tensor], Tensor], churn: Churn
) -> Tensor:
    """Algorithm 2 of Karras et al. 2022 with the discretisation of eq. 5, on what a network has of
    noise levels."""
    _, _, lowest, highest, table = CASES[case]

    def rounded(sigma: float) -> float:
        return min(table, key=lambda u: (u - sigma) ** 2) if table else sigma

    low, high, rho = max(RANGE["sigma_min"], lowest), min(RANGE["sigma_max"], highest), 7
    t = [
        (high ** (1 / rho) + i / (steps - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
        for i in range(steps)
    ]
    t = [*map(rounded, t), 0.0]
    x = x * t[0]
    for now, following in pairwise(t):
        gamma = (
            min(churn.amount / steps, math.sqrt(2) - 1) if churn.low <= now <= churn.high else 0.0
        )
        hat = rounded(now + gamma * now)
        if gamma:
            x = x + math.sqrt(hat**2 - now**2) * churn.noise * fresh(x)
        slope = (x - d(x, hat)) / hat
        euler = x + (following - hat) * slope
        if following:
            slope = slope / 2 + (euler - d(euler, following)) / following / 2
        x = x + (following - hat) * slope
    return x


@every
@pytest.mark.parametrize("churn", [Churn(0.0), Churn(20.0, 0.05, 50.0, 1.003)])
def test_it_is_sampled_by_the_published_rule(case: str, churn: Churn) -> None:
    denoiser, draws = network(case), Draws(3)
    like = torch.empty(2, 3, 4, 4, dtype=torch.float64)
    noise = draws.normal("initial noise", like)
    expected = by_the_rule(denoiser, case, noise, 18, lambda x: draws.normal("churn", x), churn)
    found = sample(
        denoiser, like.shape, steps=18, **RANGE, seed=3, churn=churn, dtype=torch.float64
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@every
def test_its_levels(case: str) -> None:
    _, _, low, high, table = CASES[case]
    found = network(case).levels()
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)
    assert list(found.table) == pytest.approx(table, rel=1e-6)


def test_edm2_takes_any() -> None:
    arguments = {name: value for name, value in SIZES.items() if name != "model_type"}
    assert network_of_class("Precond", arguments).levels() == Levels()


def test_they_do_not_depend_on_the_device_it_is_built_on() -> None:
    with torch.device("meta"):
        on_meta = (
            network_of_class("iDDPMPrecond", SIZES).levels(),
            network_of_class("VPPrecond", SIZES).levels(),
        )
    assert on_meta == (
        network_of_class("iDDPMPrecond", SIZES).levels(),
        network_of_class("VPPrecond", SIZES).levels(),
    )


def test_degraded_and_guided_denoisers_have_those_of_the_main() -> None:
    base, other = network("VE"), network("iDDPM")
    for degraded in (
        Dropout(0.1)(base),
        InputNoise(0.1)(base),
        Pair(base, InputNoise(0.1), Dropout(0.2)).at(2.0),
    ):
        assert degraded.levels() == base.levels()
    assert Guided(base, other, 2.0).levels() == base.levels()
    assert Guided(ExactGaussian(0.5), other, 2.0).levels() == other.levels()
    assert ExactGaussian(0.5).levels() == Levels()


def test_the_grid_within_levels() -> None:
    assert (
        edm_sigmas(4, 0.002, 80, levels=Levels(0.02, 50)).tolist()
        == edm_sigmas(4, 0.02, 50).tolist()
    )
    assert (
        edm_sigmas(4, 0.1, 10, levels=Levels(0.02, 50)).tolist() == edm_sigmas(4, 0.1, 10).tolist()
    )
    table = (60.0, 30.0, 3.0, 0.5, 0.1)
    assert edm_sigmas(5, 0.002, 80, levels=Levels(0.1, 60, table)).tolist() == [
        60,
        30,
        3,
        0.5,
        0.1,
        0,
    ]


@pytest.mark.parametrize(("low", "high"), [(100.0, 200.0), (0.001, 0.002), (50.0, 80.0)])
def test_a_grid_outside_of_them_is_rejected(low: float, high: float) -> None:
    with pytest.raises(InputError, match=r"made for, 0.02 to 50"):
        edm_sigmas(4, low, high, levels=Levels(0.02, 50))


@pytest.mark.parametrize("ends", [(1.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (math.inf, math.inf)])
def test_levels_that_are_none_are_rejected(ends: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="low < high"):
        Levels(*ends)


@pytest.mark.parametrize(
    ("class_name", "arguments"),
    [
        ("VEPrecond", {"sigma_min": 3.0, "sigma_max": 2.0}),
        ("VPPrecond", {"epsilon_t": 1.0}),
        ("VPPrecond", {"beta_d": 1e6, "epsilon_t": 0.5}),
        ("iDDPMPrecond", {"C_1": 1.0}),
    ],
)
def test_published_arguments_that_leave_none_are_rejected(
    class_name: str, arguments: dict[str, float]
) -> None:
    with pytest.raises(InputError, match="noise levels: found"):
        network_of_class(class_name, {**SIZES, **arguments})


class TestStudies:
    """What a study of such networks does, on 8×8 digits."""

    def base(self, class_name: str, **arguments: float) -> Base:
        denoiser = (
            network_of_class(class_name, {**TINY, "img_channels": 1, **arguments})
            .eval()
            .requires_grad_(False)
        )
        return Base(class_name, denoiser, load_data("digits"), class_name)

    def evaluator(self, base: Base, guide: Base | None = None, **sampler: Any) -> Evaluator:
        pairings = (
            [{"main": "none", "guide": "digits@seed=3"}]
            if guide
            else [{"main": "none", "guide": "sigma(0.1)"}]
        )
        spec = load_spec(
            "tests/small.yaml", ["--extractors", "[pixels]", "--pairings", str(pairings)]
        )
        spec = replace(spec, sampler=replace(spec.sampler, **sampler))
        return evaluator_for(spec, base, None if guide is None else lambda name: guide)

    def test_they_visit_the_base_s_levels_and_say_so(self) -> None:
        edm, ve, iddpm = (
            self.evaluator(self.base(name)) for name in ("EDMPrecond", "VEPrecond", "iDDPMPrecond")
        )
        assert edm.sigmas(6) == edm_sigmas(6, 0.002, 40).tolist()
        assert ve.sigmas(6) == edm_sigmas(6, 0.02, 40).tolist()
        assert set(iddpm.sigmas(6)) <= {*IDDPM_LEVELS, 0.0}
        assert "sampler.levels" not in edm.fingerprint()
        assert ve.fingerprint()["sampler.levels"] == "40 to 0.02"
        assert iddpm.fingerprint()["sampler.levels"].endswith(
            "to 0.00642541, rounded to the nearest of 1000"
        )
        within = self.evaluator(self.base("VEPrecond"), sigma_min=0.05)
        assert "sampler.levels" not in within.fingerprint()  # the same as before there were levels

    def test_samples_and_counts_are_those_of_the_levels(self) -> None:
        evaluator = self.evaluator(self.base("VEPrecond"))
        pairing = replace(evaluator.spec.pairings[0], rule="interval(0.001, 0.03)")
        task = Task.guided(pairing, 2.0, 0, 8, 6)
        wanted = {"steps": 6, "sigma_max": 40.0, "labels": None, "chunk": 60}
        guided = Guided(
            evaluator.base.denoiser,
            evaluator.degradation("sigma(0.1)")(evaluator.base.denoiser),
            2.0,
            rule=Interval(0.001, 0.03),
        )
        torch.testing.assert_close(evaluator.samples(task), sample(guided, (8, 1, 8, 8), **wanted))  # type: ignore[arg-type]
        # σ = 0.02 alone is inside, and seen twice
        assert evaluator.outcome(task).network_evaluations == 8 * (11 + 2)

    def test_a_guide_of_fewer_levels_is_rejected(self) -> None:
        edm, ve = self.base("EDMPrecond"), self.base("VEPrecond")
        with pytest.raises(
            InputError, match=r"from 0.002 to 40, and VEPrecond supports 0.02 to 100"
        ):
            self.evaluator(edm, guide=ve)
        assert (
            self.evaluator(edm, guide=ve, sigma_min=0.02).sigmas(6)
            == edm_sigmas(6, 0.02, 40).tolist()
        )
        assert self.evaluator(ve, guide=edm).sigmas(6) == edm_sigmas(6, 0.02, 40).tolist()
        short = self.base("EDMPrecond", sigma_min=0.0, sigma_max=20.0)
        with pytest.raises(InputError, match=r"from 0.002 to 40, and EDMPrecond supports 0 to 20"):
            self.evaluator(edm, guide=short)

    def test_a_base_of_other_levels_is_rejected(self) -> None:
        with pytest.raises(InputError, match=r"sigma_min 0.002, sigma_max 0.01; accepted"):
            self.evaluator(self.base("VEPrecond"), sigma_max=0.01)

    def test_the_plan_says_so(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        spec = load_spec("tests/small.yaml")
        told = (
            "noise levels 40 to 0.02, instead of the sampler's 40 to 0.002, which VEPrecond "
            "does not fully support"
        )
        assert told not in estimate(spec, tmp_path)
        monkeypatch.setattr(
            "study.engine.plan.stand_in", lambda name, spec, root: self.base("VEPrecond")
        )
        assert told in estimate(spec, tmp_path)
