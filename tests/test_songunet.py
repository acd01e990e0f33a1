"""The U-Nets DDPM++, NCSN++ and ADM: written-out formulas, values of the published networks, sites,
precisions."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from degradations import Denoiser, Draws, InputError, parse
from study.models.by_class import published
from study.models.dhariwal import DhariwalUNet
from study.models.preconditioning import Preconditioned
from study.models.songunet import SongUNet
from study.models.unet import Fourier, Positional
from study.models.unet_blocks import Block, Conv, Resample, Style, Way

M = TypeVar("M", bound=nn.Module)
SIDE = {
    "img_resolution": 8,
    "img_channels": 3,
    "label_dim": 3,
    "channel_mult": [1, 2],
    "num_blocks": 1,
}
NCSN = {"embedding_type": "fourier", "channel_mult_noise": 2, "resample_filter": [1, 3, 3, 1]}
DEEP = {"channel_mult": [1, 2, 1]}
SONG = {**SIDE, "model_type": "SongUNet", "model_channels": 8, "attn_resolutions": [4]}
ADM = {
    **SIDE,
    "model_type": "DhariwalUNet",
    "model_channels": 16,
    "channel_mult": [1, 4],
    "attn_resolutions": [4],
}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "DDPM++": ("VPPrecond", {**SONG, "augment_dim": 2}),
    "NCSN++": ("VEPrecond", {**SONG, **NCSN, **DEEP, "encoder_type": "residual"}),
    "skips": (
        "EDMPrecond",
        {**SONG, **NCSN, **DEEP, "encoder_type": "skip", "decoder_type": "skip"},
    ),
    "ADM": ("EDMPrecond", {**ADM, "augment_dim": 2}),
    "ADM, variances": ("iDDPMPrecond", ADM),
}
# Of each, D at eight places of four samples, computed with the networks that were published.
VALUES: dict[str, list[float]] = {
    "DDPM++": [2.202908, 1.633368, 0.230018, -1.123228, 1.215518, -3.064898, -0.422192, 0.77167],
    "NCSN++": [1.921852, 1.756838, 0.27061, -3.113327, 0.937099, -3.965596, 17.496748, 10.402409],
    "skips": [1.7837, 1.22053, -0.215754, -0.499299, 0.552433, -0.163015, -0.078789, 0.204884],
    "ADM": [1.633296, 1.786779, -0.047211, -0.167021, -0.315507, 0.36668, -0.622293, 0.015414],
    "ADM, variances": [
        2.010564,
        1.846621,
        0.365286,
        -1.573675,
        4.28217,
        -4.866174,
        14.696038,
        -7.618185,
    ],
}


def fill(state: Mapping[str, Tensor]) -> None:
    """Weights that any program can compute: sines whose phases grow with the square of the
    index."""
    for number, name in enumerate(sorted(state)):
        tensor = state[name]
        if name.endswith("resample_filter"):
            continue
        index = torch.arange(tensor.numel(), dtype=torch.float64)
        wave = (0.7 * index**2 + number).sin().reshape(tensor.shape)
        scale = 2 / math.sqrt(tensor[0].numel()) if tensor.ndim > 1 else 0.3
        tensor.copy_(scale * wave + (1 if "norm" in name and name.endswith("weight") else 0))


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    x = (
        (0.3 * torch.arange(4 * 3 * 8 * 8, dtype=torch.float64) ** 2)
        .cos()
        .float()
        .reshape(4, 3, 8, 8)
    )
    return 2 * x, torch.tensor([0.3, 1.0, 2.5, 10.0]), torch.tensor([0, 2, -1, 1])


def small(name: str) -> Preconditioned:
    class_name, arguments = SMALL[name]
    denoiser = published(class_name, arguments).requires_grad_(False)
    denoiser.network.load_state_dict(weights(name))
    return denoiser


@cache
def weights(name: str) -> dict[str, Tensor]:
    state = published(*SMALL[name]).network.state_dict()
    fill(state)
    return state


def random(module: M, seed: int = 0) -> M:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.requires_grad_(False).parameters():
        parameter.copy_(
            0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1)
        )
    return module


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


every = pytest.mark.parametrize("name", SMALL)


@every
def test_it_has_the_values_of_the_published_network(name: str) -> None:
    wanted = torch.tensor(VALUES[name])
    torch.testing.assert_close(
        small(name)(*inputs()).flatten()[::101],
        wanted,
        rtol=0,
        atol=1e-5 * float(wanted.abs().max()),
    )


def test_it_has_the_published_names() -> None:
    network = small("NCSN++").network
    layers = [
        name for part in ("enc", "dec") for name, _ in getattr(network, part).named_children()
    ]
    assert set(layers) == {
        "8x8_conv",
        "8x8_block0",
        "4x4_down",
        "4x4_aux_residual",
        "4x4_block0",
        "2x2_down",
        "2x2_aux_residual",
        "2x2_block0",
        "2x2_in0",
        "2x2_in1",
        "2x2_block1",
        "4x4_up",
        "4x4_block1",
        "8x8_up",
        "8x8_block1",
        "8x8_aux_norm",
        "8x8_aux_conv",
    }
    names = set(network.state_dict())
    both = (
        "map_label",
        "map_layer0",
        "map_layer1",
        "enc.4x4_aux_residual",
        "dec.8x8_aux_norm",
        "dec.8x8_aux_conv",
    )
    assert {f"{name}.{of}" for name in both for of in ("weight", "bias")} | {
        "map_noise.freqs"
    } <= names
    parts = ("norm0", "conv0", "affine", "norm1", "conv1", "skip")
    of_down = {f"enc.4x4_down.{part}.{of}" for part in parts for of in ("weight", "bias")}
    filters = {f"enc.4x4_down.{part}.resample_filter" for part in ("conv0", "skip")}
    assert {name for name in names if name.startswith("enc.4x4_down.")} == of_down | filters
    of_in0 = {
        f"dec.2x2_in0.{part}.{of}"
        for part in (*parts[:-1], "norm2", "qkv", "proj")
        for of in ("weight", "bias")
    }
    assert {name for name in names if name.startswith("dec.2x2_in0.")} == of_in0
    others = {name for name in small("skips").network.state_dict() if "aux_" in name}
    assert {
        "enc.4x4_aux_down.resample_filter",
        "enc.4x4_aux_skip.weight",
        "dec.8x8_aux_up.resample_filter",
    } <= others
    adm = set(small("ADM").network.state_dict())
    assert {"map_augment.weight", "map_label.weight", "out_norm.weight", "out_conv.bias"} <= adm
    assert "map_label.bias" not in adm
    assert {n for n in adm if n.startswith("dec.8x8_up.skip")} == {
        "dec.8x8_up.skip.resample_filter"
    }


@pytest.mark.parametrize("way", ["keep", "down", "up"])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("after", [8, 16])
def test_a_block_is_its_formula(way: Way, adaptive: bool, after: int) -> None:
    """Written out with pooling, repetition, and attention head by head; the filter (1, 1) averages
    four pixels."""
    style = Style(6, 1e-3, adaptive, gain=0.8, project=True, head_width=4)
    block, x, told = (
        random(Block(8, after, style, attends=True, way=way)),
        noise(2, 8, 4, 4),
        noise(2, 6, seed=2),
    )
    p = dict(block.named_parameters())

    def normalised(h: Tensor, name: str) -> Tensor:
        grouped = h.reshape(len(h), h.shape[1] // 4, -1)
        grouped = (grouped - grouped.mean(2, True)) / (
            grouped.var(2, correction=0, keepdim=True) + 1e-3
        ).sqrt()
        return (
            grouped.reshape(h.shape) * p[f"{name}.weight"][:, None, None]
            + p[f"{name}.bias"][:, None, None]
        )

    def convolved(h: Tensor, name: str) -> Tensor:
        return functional.conv2d(h, p[f"{name}.weight"], p[f"{name}.bias"], padding="same")

    def resampled(h: Tensor) -> Tensor:
        if way == "up":
            return h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return functional.avg_pool2d(h, 2) if way == "down" else h

    h = normalised(x, "norm0")
    h = convolved(resampled(h * h.sigmoid()), "conv0")
    vector = (told @ p["affine.weight"].T + p["affine.bias"])[:, :, None, None]
    if adaptive:
        h = normalised(h, "norm1") * (1 + vector[:, :after]) + vector[:, after:]
    else:
        h = normalised(h + vector, "norm1")
    plain = after == 8 and way == "keep"
    h = 0.8 * (
        convolved(h * h.sigmoid(), "conv1") + (x if plain else convolved(resampled(x), "skip"))
    )
    triples = convolved(normalised(h, "norm2"), "qkv").flatten(2)
    found = torch.zeros_like(h).flatten(2)
    for head in range(after // 4):
        rows = [12 * head + 3 * feature for feature in range(4)]
        q, k, v = (triples[:, [row + which for row in rows]] for which in range(3))
        found[:, 4 * head : 4 * head + 4] = v @ (q.mT @ k / 2).softmax(dim=2).mT
    h = 0.8 * (h + convolved(found.reshape(h.shape), "proj"))
    torch.testing.assert_close(block(x, told, None), h, rtol=1e-4, atol=1e-5)


def test_shortcuts_without_a_convolution() -> None:
    style = Style(6, 1e-5, adaptive=True, gain=1.0, project=False, head_width=64)
    assert isinstance(Block(8, 8, style, way="down").skip, Resample)
    assert isinstance(Block(8, 16, style).skip, Conv)
    assert Block(8, 8, style).skip is None
    assert Block(8, 8, style, attends=True).heads == 0, "narrower than a head"


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1), (1, 2, 3, 5, 8, 13)])
def test_resampling_is_its_sum(taps: tuple[float, ...]) -> None:
    """Down: y_i = Σ_k f_k x_{2i+k−m}, m = n/2 − 1, zeros outside; up: four times the transpose of
    that matrix."""
    n, m = len(taps), len(taps) // 2 - 1
    matrix = torch.zeros(4, 8)
    for i in range(4):
        for k in range(n):
            if 0 <= 2 * i + k - m < 8:
                matrix[i, 2 * i + k - m] = taps[k] / sum(taps)
    x = noise(2, 3, 8, 8)
    torch.testing.assert_close(Resample("down", taps)(x), matrix @ x @ matrix.T)
    torch.testing.assert_close(
        Resample("up", taps)(x[..., :4, :4]), 4 * matrix.T @ x[..., :4, :4] @ matrix
    )
    conv = random(Conv(3, 5, 3, "down", taps))
    plain = functional.conv2d(matrix @ x @ matrix.T, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), plain)


def test_a_convolution_ahead_of_its_filter() -> None:
    """Of the borders, too, where it differs from the other order, the convolution is filtered."""
    conv, x, taps = (
        random(Conv(3, 5, 3, "down", (1, 3, 3, 1), ahead=True)),
        noise(2, 3, 8, 8),
        torch.tensor([1, 3, 3, 1]),
    )
    wide = functional.conv2d(functional.pad(x, (2, 2, 2, 2)), conv.weight, conv.bias)
    assert wide.shape[-1] == 10
    windows = wide.unfold(2, 4, 2).unfold(3, 4, 2)  # [2, 5, 4, 4, 4, 4]
    torch.testing.assert_close(
        conv(x), torch.einsum("bcijkl,k,l->bcij", windows, taps / 8, taps / 8)
    )


def test_what_tells_the_noise_level() -> None:
    c = torch.tensor([0.25, 37.0])
    n = torch.arange(4)
    torch.testing.assert_close(Positional(8, endpoint=False)(c), c[:, None] / 10 ** n[None])
    torch.testing.assert_close(
        Positional(8, endpoint=True)(c), c[:, None] / 10 ** (n[None] * 4 / 3)
    )
    fourier = Fourier(2000)
    assert abs(float(fourier.freqs.std()) - 16) < 2
    torch.testing.assert_close(fourier(c) / (2 * math.pi), c[:, None] * fourier.freqs)


def test_labels_are_embedded_as_published() -> None:
    """SongUNet: W √K e + b among the features, sin first; ADM: W e on what two layers made of them,
    cos first."""
    silu, label, c = functional.silu, torch.tensor([2, -1]), torch.tensor([0.4, 3.0])
    hot = torch.tensor([[0.0, 0, 1], [0, 0, 0]])
    song, adm = small("DDPM++").network, small("ADM").network
    assert isinstance(song, SongUNet)
    assert isinstance(adm, DhariwalUNet)
    assert song.map_label is not None
    assert adm.map_label is not None
    angles = song.map_noise(c)
    h = torch.cat([angles.sin(), angles.cos()], 1) + song.map_label(hot * 3**0.5)
    torch.testing.assert_close(
        song.embed(c, label), silu(song.map_layer1(silu(song.map_layer0(h))))
    )
    angles = adm.map_noise(c)
    h = adm.map_layer1(silu(adm.map_layer0(torch.cat([angles.cos(), angles.sin()], 1))))
    torch.testing.assert_close(adm.embed(c, label), silu(h + hot @ adm.map_label.weight.T))


class TestLabels:
    @every
    def test_minus_one_is_none(self, name: str) -> None:
        denoiser, (x, sigma, label) = small(name), inputs()
        assert torch.equal(denoiser(x, sigma), denoiser(x, sigma, torch.full((4,), -1)))
        apart = (denoiser(x, sigma) - denoiser(x, sigma, label)).abs().amax((1, 2, 3))
        assert torch.equal(apart > 1e-4, label >= 0)

    def test_without_classes_there_are_none(self) -> None:
        class_name, arguments = SMALL["DDPM++"]
        denoiser = published(class_name, {**arguments, "label_dim": 0})
        assert "label" not in denoiser.sites()
        x, sigma, label = inputs()
        assert torch.equal(denoiser(x, sigma), denoiser(x, sigma, label))

    def test_one_too_large(self) -> None:
        with pytest.raises(IndexError):
            small("ADM")(inputs()[0], 1.0, torch.full((4,), 3))


class TestSites:
    @every
    def test_its_roles(self, name: str) -> None:
        assert small(name).sites() == {"attention", "block", "dropout", "label", "map"}

    @every
    @pytest.mark.parametrize(
        "text",
        [
            "dropout(0.2)",
            "block-dropout(0.3)",
            "no-attention(0.5)",
            "map-blur(0.5)",
            "label-drop(0.9)",
        ],
    )
    def test_they_act(self, name: str, text: str) -> None:
        base, before = small(name), small(name)(*inputs())
        assert (parse(text)(base)(*inputs(), Draws(0)) - before).abs().max() > 1e-4
        assert torch.equal(base(*inputs()), before)

    @every
    def test_an_action_that_does_nothing(self, name: str) -> None:
        """Bit-identical, but for attention, which is then computed with its map and not fused."""
        base: Denoiser = small(name)
        for role in ("block", "dropout", "label", "map"):
            base = base.with_sites(role, lambda site: site.then(lambda h, _: h * 1), "this test")
        out = small(name)(*inputs())
        assert torch.equal(base(*inputs()), out)
        explicit = base.with_sites(
            "attention", lambda site: site.then(lambda h, _: h * 1), "this test"
        )
        torch.testing.assert_close(explicit(*inputs()), out, rtol=1e-5, atol=1e-5)

    def test_what_they_see(self) -> None:
        """The shapes, block by block; two for the residual branches of a block that attends."""
        seen: dict[str, list[tuple[int, ...]]] = {}

        def look(role: str, denoiser: Denoiser) -> Denoiser:
            def act(h: Tensor, _: Draws | None) -> Tensor:
                seen.setdefault(role, []).append(tuple(h.shape))
                return h

            return denoiser.with_sites(role, lambda site: site.then(act), "this test")

        denoiser: Denoiser = small("ADM")
        for role in sorted(denoiser.sites()):
            denoiser = look(role, denoiser)
        denoiser(*inputs())
        # of the encoder, in0, and two of the decoder
        assert seen["attention"] == [(4, 1, 16, 16)] * 4
        assert len(seen["block"]) == 10 + 4
        assert seen["map"][:3] == [(4, 16, 8, 8), (4, 16, 8, 8), (4, 16, 4, 4)]
        assert seen["dropout"][:3] == [(4, 16, 8, 8), (4, 16, 4, 4), (4, 64, 4, 4)]
        assert len(seen["map"]) == len(seen["dropout"]) == 10
        assert seen["label"] == [(4,)]

    def test_no_attention_leaves_every_position_its_own(self) -> None:
        block = random(Block(8, 8, Style(6, 1e-5, False, 1.0, False, None), attends=True))
        alone = block.attention.then(lambda a, _: torch.eye(a.shape[-1]).expand_as(a))
        x, told = noise(2, 8, 4, 4), noise(2, 6)
        for parameter in block.proj.parameters():
            parameter.zero_()
        before = block(x, told, None)
        random(block.proj)
        block.attention = alone
        v = block.qkv(block.norm2(before))[:, 2::3]
        torch.testing.assert_close(block(x, told, None), before + block.proj(v))

    @every
    def test_it_draws_nothing(self, name: str) -> None:
        draws = Draws(0)
        small(name)(*inputs(), draws)
        assert draws.unused


class TestPrecision:
    @every
    @pytest.mark.parametrize(
        ("precision", "off"), [(torch.bfloat16, 2**-5), (torch.float16, 2**-8)]
    )
    @pytest.mark.parametrize("text", ["dropout(0)", "no-attention(0.5)"])
    def test_a_lower_one_is_close(
        self, name: str, precision: torch.dtype, off: float, text: str
    ) -> None:
        """Within some roundings of what the network adds to c_skip·x; where it reaches, in that
        precision."""
        (x, sigma, label), denoiser = inputs(), small(name)
        full = parse(text)(denoiser)(x, sigma, label)
        denoiser.network.use(precision)
        low = parse(text)(denoiser)(x, sigma, label)
        assert low.dtype == torch.float32
        c = denoiser.scalings(sigma[:, None, None, None])
        error = ((low - full) / c.c_out).norm() / ((full - c.c_skip * x) / c.c_out).norm()
        assert 0 < error < off
        assert denoiser.network(x.to(precision), torch.zeros(1), label, None).dtype == precision

    def test_linear_layers_stay_as_they_are(self) -> None:
        lower, network = small("ADM").network, small("ADM").network
        lower.use(torch.bfloat16)
        for name, parameter in lower.named_parameters():
            linear = "map_" in name or "affine" in name
            assert parameter.dtype == (torch.float32 if linear else torch.bfloat16), name
            assert not linear or torch.equal(parameter, network.get_parameter(name))

    def test_others_are_refused(self) -> None:
        network = small("ADM").network
        with pytest.raises(
            InputError, match="computes in float32 or float16 or bfloat16, found float64"
        ):
            network.use(torch.float64)
        assert network.precision == torch.float32

    def test_it_keeps_the_precision_of_x(self) -> None:
        """In float64 the values are those of float32, and better."""
        denoiser, (x, sigma, label) = small("ADM"), inputs()
        out = denoiser(x, sigma, label)
        torch.testing.assert_close(
            denoiser.double()(x.double(), sigma.double(), label).float(), out, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: SongUNet(12, 3, multipliers=(1, 1, 1, 1)),
            "resolution 12, wanted a multiple of 8",
        ),
        (
            lambda: SongUNet(8, 3, width=132, multipliers=(1,)),
            "132 channels cannot be normalised in 32 groups",
        ),
        (lambda: DhariwalUNet(8, 3, width=3, multipliers=(2,)), "3 features of the noise level"),
        (
            lambda: SongUNet(8, 3, width=8, multipliers=(1, 1), taps=(1, 2, 1)),
            "3 taps, wanted an even number",
        ),
        (lambda: DhariwalUNet(8, 3, width=200, multipliers=(1,)), "200 channels"),
        (
            lambda: Block(8, 20, Style(6, 1e-5, True, 1.0, False, 6), attends=True),
            "20 channels .* 3 heads",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
