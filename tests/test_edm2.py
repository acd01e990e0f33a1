"""The network of EDM2: against its formulas written out, against values of the published one, and
its sites."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import plain_edm2
from degradations import BlockDropout, Draws, Dropout, InputError, LabelDrop, MapBlur, NoAttention
from study.models import EDM
from study.models.by_class import network_of_class
from study.models.edm2 import EDM2UNet
from study.models.preconditioning import Preconditioned

SMALL = {"img_resolution": 8, "model_channels": 8, "channels_per_head": 8, "num_blocks": 1}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "labels": {
        **SMALL,
        "img_channels": 4,
        "label_dim": 3,
        "channel_mult": [1, 2],
        "attn_resolutions": [4],
    },
    "no labels": {
        **SMALL,
        "img_channels": 3,
        "label_dim": 0,
        "channel_mult": [2, 3],
        "attn_resolutions": [8, 4],
        "channel_mult_noise": 1,
        "channel_mult_emb": 2,
        "res_balance": 0.4,
        "attn_balance": 0.2,
        "concat_balance": 0.6,
        "clip_act": 3.0,
        "sigma_data": 0.7,
    },
}
# Of each, D at two places of four samples, computed with the network that was published.
VALUES: dict[str, list[float]] = {
    "labels": [0.120776, 1.017416, 0.96211, -0.852655, -0.178931, -0.130543, -0.063383, 0.093757],
    "no labels": [0.052026, 1.674237, 0.58586, 1.803749, 0.447335, 0.679166, 0.893641, 0.581591],
}


def fill(state: Mapping[str, Tensor]) -> None:
    """Weights that any program can compute: sines whose phases grow with the square of the index,
    gains near one."""
    for number, name in enumerate(sorted(state)):
        index = torch.arange(state[name].numel(), dtype=torch.float64)
        wave = (0.7 * index**2 + number).sin().reshape(state[name].shape)
        state[name].copy_(0.8 + 0.3 * wave if name.endswith("gain") else wave)


def inputs(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    x = (
        (0.3 * torch.arange(4 * channels * 64, dtype=torch.float64) ** 2)
        .cos()
        .float()
        .reshape(4, channels, 8, 8)
    )
    return 2 * x, torch.tensor([0.3, 1.0, 2.5, 10.0]), torch.tensor([0, 2, -1, 1])


def small(name: str = "labels") -> Preconditioned:
    denoiser = network_of_class("Precond", ARGUMENTS[name]).eval().requires_grad_(False)
    state = denoiser.network.state_dict()
    raw = {key: torch.empty_like(value) for key, value in state.items()}
    fill(raw)
    denoiser.network.load_state_dict(raw)
    return denoiser


@pytest.mark.parametrize("name", VALUES)
def test_it_is_the_published_network(name: str) -> None:
    x, sigma, label = inputs(ARGUMENTS[name]["img_channels"])
    found = small(name)(x, sigma, label)[:, 1, 3, ::4].flatten()
    torch.testing.assert_close(found, torch.tensor(VALUES[name]), rtol=1e-5, atol=2e-6)


def test_a_weight_is_normalised_when_it_is_loaded_and_once() -> None:
    """w/(ε + rms(w))/√fan_in of each output, in double precision; what was normalised already
    stays."""
    network = small().network
    state = network.state_dict()
    name = "enc.4x4_block0.conv_res0.weight"
    raw = torch.randn(state[name].shape, generator=torch.Generator().manual_seed(0))
    network.load_state_dict({**{key: value.clone() for key, value in state.items()}, name: raw})
    w = raw.double().flatten(1)
    rms = (w**2).mean(1, keepdim=True).sqrt()
    expected = (w / (1e-4 + rms) / math.sqrt(w.shape[1])).reshape(raw.shape).float()
    torch.testing.assert_close(network.get_parameter(name).data, expected, rtol=1e-5, atol=1e-7)
    again = small().network
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.get_parameter(name), network.get_parameter(name))


def test_magnitudes_are_kept() -> None:
    """Of a random network of white noise the activations stay of the order of one: the reason for
    its scalings."""
    torch.manual_seed(0)
    network = EDM2UNet(16, 4, 10, width=32, head_width=16, attention_at=(8, 4)).eval()
    seen: list[float] = []
    for block in [*network.enc.values(), *network.dec.values()]:
        block.register_forward_hook(lambda module, given, found: seen.append(float(found.std())))
    with torch.no_grad():
        network.out_gain.fill_(1)
        out = network(torch.randn(8, 4, 16, 16), torch.zeros(8), torch.arange(8), None)
    assert len(seen) == (1 + 3 * 4 + 3) + (2 + 4 * 4 + 3)
    assert all(0.7 < std < 1.4 for std in seen), seen
    assert 0.6 < float(out.std()) < 1.6


def test_attention_by_its_map_is_the_fused_one() -> None:
    x, sigma, label = inputs(4)
    mapped = NoAttention(1e-9)(small())  # the map is formed, and all but left as it is
    torch.testing.assert_close(
        mapped(x, sigma, label, Draws(0)), small()(x, sigma, label), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "degradation",
    [Dropout(0.3), BlockDropout(0.3), NoAttention(1.0), MapBlur(0.7), LabelDrop(1.0)],
    ids=str,
)
def test_every_site_acts_and_leaves_the_base_as_it_was(degradation: Any) -> None:
    base, (x, sigma, label) = small(), inputs(4)
    before = base(x, sigma, label)
    worse = degradation(base)(x, sigma, label, Draws(0))
    assert not torch.allclose(worse, before, rtol=1e-3)
    assert torch.equal(base(x, sigma, label), before)


def test_dropout_is_before_the_second_convolution() -> None:
    """With all of it dropped the residual branches are zero, and a block of the decoder is its
    scaled shortcut."""
    seen: list[tuple[Tensor, Tensor]] = []
    drop = (
        small()
        .with_sites("dropout", lambda site: site.then(lambda h, draws: 0 * h), wanted_by="a test")
        .network
    )
    block = drop.dec["8x8_up"]
    block.register_forward_hook(lambda module, given, found: seen.append((given[0], found)))
    x, sigma, label = inputs(4)
    drop(x, sigma.log() / 4, label, None)
    (given, found), t = seen[0], 0.3
    expected = 0.7 / math.hypot(1 - t, t) * given.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(found, expected.clamp(-256, 256))


def test_no_label_is_minus_one_and_a_dropped_one() -> None:
    base, (x, sigma, label) = small(), inputs(4)
    none = base(x, sigma, torch.full((4,), -1))
    assert torch.equal(base(x, sigma), none)
    assert torch.equal(LabelDrop(1.0)(base)(x, sigma, label, Draws(0)), none)
    assert not torch.allclose(base(x, sigma, label)[0], none[0])


@pytest.mark.parametrize(
    ("precision", "digits"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)]
)
def test_lower_precision_is_its_rounding_away(precision: torch.dtype, digits: float) -> None:
    x, sigma, label = inputs(4)
    lower = small()
    lower.network.use(precision)
    found, exact = lower(x, sigma, label), small()(x, sigma, label)
    error = float((found - exact).norm() / exact.norm())
    assert found.dtype == torch.float32
    assert digits / 8 < error < 8 * digits
    embedding = lower.network.get_parameter("emb_noise.weight")
    assert embedding.dtype == torch.float32
    assert torch.equal(embedding, small().network.get_parameter("emb_noise.weight"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"resample_filter": [1, 3, 3, 1]}, "resample_filter"),
        (
            {"channels_per_head": 7, "model_channels": 10, "channel_mult": [2, 3]},
            "cannot be divided",
        ),
        ({"img_resolution": 9}, "multiples of 2"),
        ({"model_type": "SongUNet"}, "model_type"),
        ({"clip_act": "256"}, "clip_act"),
        ({"model_channels": 2048, "channel_mult": [16, 16]}, "parameters"),
    ],
)
def test_arguments_that_are_none_are_rejected(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        network_of_class("Precond", {**ARGUMENTS["labels"], **changes})


def test_it_is_its_formulas_written_down_plainly() -> None:
    """Defaults of the published sizes, of a small width: labels, attention at 16 and 8, 64 channels
    a head."""
    torch.manual_seed(0)
    network = (
        EDM2UNet(32, 4, 10, width=64, multipliers=(1, 1, 1), blocks=1).eval().requires_grad_(False)
    )
    raw = {
        name: torch.rand([]) + 0.5 if "gain" in name else torch.randn_like(tensor)
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(raw)
    x, label = 3 * torch.randn(4, 4, 32, 32), torch.tensor([0, 9, -1, 4])
    onehot = torch.nn.functional.one_hot(label.clamp(min=0), 10) * (label >= 0)[:, None].float()
    sigma = torch.tensor([0.01, 0.5, 3.0, 80.0])
    expected = plain_edm2.denoise(raw, x, sigma, onehot)
    torch.testing.assert_close(EDM(network, 0.5)(x, sigma, label), expected, rtol=1e-5, atol=2e-5)
