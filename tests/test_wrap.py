"""A network of one's own as a denoiser: its parametrisation, its sites, what is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from degradations import Draws, InputError, parse
from study.models import ExactGaussian, wrap
from study.models.diffusers_schedule import DiscreteSchedule

SHAPE = (2, 4, 4)


class ResBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        return x + self.conv(self.drop(F.silu(x + shift)))


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(width, 3 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (e.flatten(2).mT[:, None] for e in self.qkv(x).chunk(3, dim=1))
        found = F.scaled_dot_product_attention(q, k, v)[:, 0].mT.reshape(x.shape)
        return x + F.dropout(found, 0.2, training=self.training)


class Net(nn.Module):
    """As many are written: residual blocks with dropout, attention, a time and a label."""

    def __init__(self, classes: int = 3, width: int = 8) -> None:
        super().__init__()
        self.enter = nn.Conv2d(SHAPE[0], width, 3, padding=1)
        self.time = nn.Linear(1, width)
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList(ResBlock(width) for _ in range(2))
        self.attention = Attention(width)
        self.leave = nn.Conv2d(width, SHAPE[0], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        shift = self.time(t.float()[:, None] / 1000)
        if label is not None:
            shift = shift + self.label(label)
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, shift[..., None, None])
        return self.leave(self.attention(h))


def net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


class Answer(nn.Module):
    """The exact prediction for Gaussian data, given x/√(1 + σ²) and a time that tells σ."""

    def __init__(self, predicts: str, sigma_of: Callable[[Tensor], Tensor], scaled: bool) -> None:
        super().__init__()
        self.predicts, self.sigma_of, self.scaled = predicts, sigma_of, scaled

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        sigma = self.sigma_of(t.double()).reshape(-1, 1).to(x.dtype)
        alpha = 1 / (1 + sigma**2).sqrt()
        noisy = x / alpha if self.scaled else x
        d = ExactGaussian(0.6)(noisy, sigma[:, 0])
        noise = (noisy - d) / sigma
        return {"epsilon": noise, "x0": d, "v": alpha * noise - alpha * sigma * d, "denoised": d}[
            self.predicts
        ]


REMAINING = torch.linspace(0.9999, 0.002, 400, dtype=torch.float64)
GIVEN: dict[str, tuple[object, Callable[[Tensor], Tensor]]] = {
    "sigma": ("sigma", lambda t: t),
    "log-sigma": ("log-sigma", lambda t: (4 * t).exp()),
    "ᾱ": (REMAINING, lambda t: _between(((1 - REMAINING) / REMAINING).sqrt(), t)),
}


def _between(levels: Tensor, t: Tensor) -> Tensor:
    low = t.floor().long().clamp(max=len(levels) - 2)
    logs = levels.log()
    return (logs[low] + (t - low) * (logs[low + 1] - logs[low])).exp()


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v"])
def test_an_exact_prediction_is_the_exact_denoiser(predicts: str, given: str) -> None:
    schedule, sigma_of = GIVEN[given]
    denoiser = wrap(Answer(predicts, sigma_of, True), predicts, schedule)  # type: ignore[arg-type]
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.tensor([0.02, 0.3, 1.0, 4.0, 20.0], dtype=torch.float64)
    torch.testing.assert_close(
        denoiser(x, sigma), ExactGaussian(0.6)(x, sigma), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("given", ["sigma", "log-sigma"])
def test_a_denoiser_of_one_s_own_is_itself(given: str) -> None:
    schedule, sigma_of = GIVEN[given]
    denoiser = wrap(Answer("denoised", sigma_of, False), "denoised", schedule)  # type: ignore[arg-type]
    x, sigma = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0.1, 7.0], dtype=torch.float64)
    torch.testing.assert_close(denoiser(x, sigma), ExactGaussian(0.6)(x, sigma))


def test_edm_s_network_has_edm_s_preconditioning() -> None:
    class Third(nn.Module):
        def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
            return x / 3 + c_noise[:, None]

    found = wrap(Third(), "edm", sigma_data=0.7)(torch.ones(1, 2), 2.0)
    total = 2.0**2 + 0.7**2
    inside = 1 / total**0.5 / 3 + torch.tensor(2.0).log() / 4
    torch.testing.assert_close(found[0, 0], 0.49 / total + 2.0 * 0.7 / total**0.5 * inside)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "cosine"])
def test_named_schedules_are_those_of_diffusers(name: str) -> None:
    from diffusers import DDPMScheduler

    kinds = {"cosine": "squaredcos_cap_v2"}
    betas = {"scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012}}.get(name, {})
    wanted = DDPMScheduler(beta_schedule=kinds.get(name, name), **betas).alphas_cumprod.double()
    denoiser = wrap(net(), schedule=name)
    assert isinstance(denoiser, DiscreteSchedule)
    torch.testing.assert_close(
        denoiser.sigmas, ((1 - wanted) / wanted).sqrt(), rtol=1e-3, atol=1e-6
    )


def test_what_is_found_is_listed() -> None:
    assert wrap(net()).network.found == {
        "dropout": ["blocks.0.drop", "blocks.1.drop"],
        "block": ["blocks.0", "blocks.1"],
        "map": ["blocks.0", "blocks.1"],
    }
    tried = wrap(net(), shape=SHAPE, classes=3)
    assert tried.network.found["attention"] == ["calls of functions"]
    assert tried.sites() == {"attention", "block", "dropout", "label", "map"}
    named = wrap(net(), sites={"block": ["attention"], "map": ["blocks.1", "leave"]})
    assert named.network.found["block"] == ["attention"]
    assert named.network.found["map"] == ["blocks.1", "leave"]


def test_sites_change_nothing_until_something_acts() -> None:
    own, x, t = net().eval(), torch.randn(2, *SHAPE), torch.tensor([3.0, 500.0])
    before = {name: id(p) for name, p in own.named_parameters()}
    denoiser = wrap(own, schedule="linear", shape=SHAPE, classes=3)
    sigma = denoiser.sigmas[t.long()].float()
    label = torch.tensor([2, -1])
    scaled = x / (1 + sigma**2).sqrt().reshape(-1, 1, 1, 1)
    with torch.no_grad():
        noise = own(scaled, t, torch.tensor([2, 3]))
    wanted = x - sigma.reshape(-1, 1, 1, 1) * noise
    torch.testing.assert_close(denoiser(x, sigma, label), wanted)
    assert {name: id(p) for name, p in own.named_parameters()} == before
    assert type(own.blocks[0]) is ResBlock
    assert isinstance(denoiser.network.net.blocks[0], ResBlock)
    assert denoiser.network.net.enter.weight is own.enter.weight


@pytest.mark.parametrize(
    "name",
    ["dropout(0.5)", "block-dropout(0.5)", "map-blur(1)", "no-attention(1)", "label-drop(1)"],
)
def test_degradations_act(name: str) -> None:
    denoiser = wrap(net(), shape=SHAPE, classes=3)
    x, label = torch.randn(4, *SHAPE), torch.tensor([0, 1, 2, 0])
    degraded = parse(name)(denoiser)
    plain, worse = denoiser(x, 1.0, label), degraded(x, 1.0, label, Draws(0))
    assert float((plain - worse).abs().max()) > 1e-4
    torch.testing.assert_close(worse, degraded(x, 1.0, label, Draws(0)), rtol=0, atol=0)


def test_a_block_site_sees_what_the_block_adds() -> None:
    """Dropped, the blocks are the identity."""
    own = net().eval()
    denoiser = wrap(own, "denoised", "sigma", sites={"block": ["blocks.*"]})
    assert denoiser.network.found["block"][:2] == ["blocks.0", "blocks.0.conv"]
    denoiser = wrap(own, "denoised", "sigma", sites={"block": ["blocks.[01]"]})
    x, t = torch.randn(2, *SHAPE), torch.ones(2)
    with torch.no_grad():
        wanted = own.leave(own.attention(own.enter(x)))
    dropped = denoiser.with_sites("block", lambda site: site.then(lambda h, draws: 0 * h), "a test")
    torch.testing.assert_close(dropped(x, t), wanted)


def test_functional_attention_is_that_of_the_fused_kernel() -> None:
    """Through a site that changes nothing, with masks and scales too."""
    from degradations import Site
    from study.models.diffusers_network import Call
    from study.models.wrapped_sites import Found

    site = Site("attention").then(lambda h, draws: h)
    q, k, v = torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    for options in (
        {},
        {"is_causal": True},
        {"attn_mask": mask},
        {"attn_mask": torch.zeros(5, 5).masked_fill(~mask, -1e4)},
        {"scale": 0.3},
    ):
        wanted = F.scaled_dot_product_attention(q, k, v, **options)  # type: ignore[arg-type]
        with Found({"attention": site}, Call()):
            found = F.scaled_dot_product_attention(q, k, v, **options)  # type: ignore[arg-type]
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"predicts": "noise"}, "found predicts 'noise'; accepted: epsilon, x0, v, edm, denoised"),
        ({"schedule": "quadratic"}, "found schedule 'quadratic' with epsilon; accepted: linear"),
        ({"predicts": "edm", "schedule": "linear"}, "with edm; accepted: log-sigma"),
        ({"predicts": "denoised", "schedule": [0.9, 0.1]}, "found ᾱ_t with denoised"),
        ({"schedule": [0.1, 0.9]}, "two or more between 0 and 1, falling"),
        ({"schedule": [0.9]}, "two or more between 0 and 1, falling"),
        ({"sites": {"block": ["layers.*"]}}, r"no module is named 'layers.\*'"),
        ({"sites": {"label": ["label"]}}, "role 'label'; accepted: block, dropout, map"),
        ({"shape": (3, 4, 4)}, "cannot be called with samples"),
        (
            {"shape": SHAPE, "call": lambda net, x, t, label: x[:, :1]},
            r"an output of shape \[1, 1, 4, 4\]",
        ),
    ],
)
def test_what_cannot_be_wrapped_is_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        wrap(net(), **options)  # type: ignore[arg-type]


def test_another_output_is_refused_at_the_first_call() -> None:
    denoiser = wrap(net(), call=lambda net, x, t, label: x[..., :2])
    with pytest.raises(InputError, match=r"an output of shape \[1, 2, 4, 2\]"):
        denoiser(torch.zeros(1, *SHAPE), 1.0)
