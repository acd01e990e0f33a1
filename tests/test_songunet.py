"""The U-Nets DDPM++, NCSN++ and ADM: their published values and names, labels, and precisions."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from degradations import InputError, parse
from study.models.by_class import network_of_class
from study.models.dhariwal import DhariwalUNet
from study.models.songunet import SongUNet
from study.models.unet_blocks import Block, Style
from tests.unet_networks import SMALL, every, inputs, small

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
        denoiser = network_of_class(class_name, {**arguments, "label_dim": 0})
        assert "label" not in denoiser.sites()
        x, sigma, label = inputs()
        assert torch.equal(denoiser(x, sigma), denoiser(x, sigma, label))

    def test_one_too_large(self) -> None:
        with pytest.raises(IndexError):
            small("ADM")(inputs()[0], 1.0, torch.full((4,), 3))


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

    def test_others_are_rejected(self) -> None:
        network = small("ADM").network
        with pytest.raises(
            InputError, match=r"found float64; accepted by .*: float32 or float16 or bfloat16"
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
            "resolution 12; accepted: multiples of 8",
        ),
        (
            lambda: SongUNet(8, 3, width=132, multipliers=(1,)),
            "found 132 channels to be normalised in 32 groups",
        ),
        (lambda: DhariwalUNet(8, 3, width=3, multipliers=(2,)), "3 features of the noise level"),
        (
            lambda: SongUNet(8, 3, width=8, multipliers=(1, 1), taps=(1, 2, 1)),
            "3 taps; accepted: an even number",
        ),
        (lambda: DhariwalUNet(8, 3, width=200, multipliers=(1,)), "200 channels"),
        (
            lambda: Block(8, 20, Style(6, 1e-5, True, 1.0, False, 6), attends=True),
            "20 channels .* 3 heads",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_rejected(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
