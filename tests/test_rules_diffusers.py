"""Rules compared with the guiders of diffusers, on the same inputs in the rules' own views."""

import pytest
import torch
from torch import Tensor

from degradations import parse_rule
from degradations.guidance.rule import Combination, Correction, Point

guiders = pytest.importorskip("diffusers.guiders")

SHAPE = (5, 24, 8)  # tokens, as one of the guiders accepts no images


def inputs(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    d1 = torch.randn(SHAPE, generator=generator)
    return d1, d1 + 0.3 * torch.randn(SHAPE, generator=generator)


def ours(name: str, weight: float, steps: int = 1) -> list[Tensor]:
    (part,) = parse_rule(name).parts
    at = Point(torch.zeros(SHAPE), torch.tensor(1.0), None, part.begin())
    if isinstance(part, Correction):
        found = [inputs(step) for step in range(steps)]
        return [part.correct(weight * d1 + (1 - weight) * d0, d1, at) for d1, d0 in found]
    assert isinstance(part, Combination)
    return [part.combine(*inputs(step), weight, at) for step in range(steps)]


@pytest.mark.parametrize("weight", [1.5, 4.0])
@pytest.mark.parametrize(
    ("name", "guider", "options"),
    [
        ("constant", "ClassifierFreeGuidance", {}),
        ("rescale(0.7)", "ClassifierFreeGuidance", {"guidance_rescale": 0.7}),
        ("cfg-zero", "ClassifierFreeZeroStarGuidance", {"zero_init_steps": 0}),
        ("tcfg", "TangentialClassifierFreeGuidance", {}),
        ("mambo-g(8)", "MagnitudeAwareGuidance", {"alpha": 8.0}),
    ],
)
def test_a_rule_is_its_guider(
    name: str, guider: str, options: dict[str, float], weight: float
) -> None:
    theirs = getattr(guiders, guider)(guidance_scale=weight, **options)
    theirs.set_state(step=0, num_inference_steps=10, timestep=torch.tensor(0))
    expected = theirs.forward(*inputs(0)).pred
    torch.testing.assert_close(ours(name, weight)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("eta", "norm", "momentum"), [(0.0, 0.0, 0.0), (0.5, 2.0, -0.5), (1, 3, 0.6)]
)
def test_apg_is_the_original_formulation_with_w_less_1(
    eta: float, norm: float, momentum: float
) -> None:
    """The default of diffusers adds to the guide instead of the main."""
    from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer

    theirs = guiders.AdaptiveProjectedGuidance(
        guidance_scale=1.5,
        adaptive_projected_guidance_rescale=norm,
        eta=eta,
        use_original_formulation=True,
    )
    theirs.momentum_buffer = MomentumBuffer(momentum)
    expected = [theirs.forward(*inputs(step)).pred for step in range(4)]
    found = ours(f"apg(eta={eta}, norm={norm}, momentum={momentum})", 2.5, steps=4)
    for ours_, each in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_, each, rtol=1e-4, atol=1e-4)


def test_cfg_zero_has_no_velocity_in_its_first_steps() -> None:
    theirs = guiders.ClassifierFreeZeroStarGuidance(guidance_scale=2.0, zero_init_steps=2)
    rule = parse_rule("cfg-zero(steps=2)")
    for step in range(4):
        theirs.set_state(step=step, num_inference_steps=10, timestep=torch.tensor(0))
        is_zero = not bool(theirs.forward(*inputs(step)).pred.any())
        assert is_zero == rule.idles(2.0, step)
