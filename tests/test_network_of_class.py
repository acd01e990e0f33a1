"""Denoisers by the names and arguments of published pickles, and arguments that are rejected."""

import math
import re
from typing import Any

import pytest
import torch

from degradations import InputError
from study.models.by_class import MOST_PARAMETERS, network_of_class
from study.models.edm_preconditioning import IDDPM, VE, VP
from study.models.preconditioning import EDM
from tests.published_networks import TINY, levels


class TestPublished:
    def test_its_preconditioning(self) -> None:
        edm = network_of_class(
            "EDMPrecond", {**TINY, "sigma_data": 0.7, "sigma_min": 0, "sigma_max": math.inf}
        )
        assert isinstance(edm, EDM)
        assert edm.sigma_data == 0.7
        usual = network_of_class("EDMPrecond", TINY)
        assert isinstance(usual, EDM)
        assert usual.sigma_data == 0.5
        vp = network_of_class(
            "VPPrecond", {**TINY, "beta_d": 10, "beta_min": 0.2, "M": 500, "epsilon_t": 1e-4}
        )
        assert isinstance(vp, VP)
        assert (vp.beta_d, vp.beta_min, vp.steps) == (10, 0.2, 500)
        iddpm = network_of_class("iDDPMPrecond", {**TINY, "C_1": 0.1, "C_2": 0.02, "M": 50})
        assert isinstance(iddpm, IDDPM)
        assert iddpm.u.tolist() == pytest.approx(levels(0.1, 0.02, 50), rel=1e-6)
        assert isinstance(
            network_of_class("VEPrecond", {**TINY, "sigma_min": 0.02, "sigma_max": 100}), VE
        )

    def test_its_network(self) -> None:
        """Where no model_type is named, SongUNet for VP and VE, DhariwalUNet for EDM and iDDPM."""
        sizes = {
            "img_resolution": 8,
            "img_channels": 3,
            "model_channels": 8,
            "channel_mult": [1],
            "num_blocks": 1,
        }
        for class_name, wanted in {
            "VPPrecond": "SongUNet",
            "VEPrecond": "SongUNet",
            "EDMPrecond": "DhariwalUNet",
            "iDDPMPrecond": "DhariwalUNet",
        }.items():
            assert type(network_of_class(class_name, sizes).network).__name__ == wanted
        assert network_of_class("EDMPrecond", sizes).network.get_parameter(
            "out_conv.bias"
        ).shape == (3,)
        assert network_of_class("iDDPMPrecond", sizes).network.get_parameter(
            "out_conv.bias"
        ).shape == (6,)

    def test_what_acts_in_training_only_changes_nothing(self) -> None:
        """The weights are as they would be, on the CPU and in fp32."""
        extra = {"dropout": 0.13, "label_dropout": 0.1, "use_fp16": True}
        plain, other = (
            network_of_class("EDMPrecond", TINY),
            network_of_class("EDMPrecond", {**TINY, **extra}),
        )
        other.load_state_dict(plain.state_dict())
        x = torch.randn(2, 3, 8, 8)
        assert torch.equal(plain(x, 1.0), other.train()(x, 1.0))
        assert {(p.dtype, p.device.type) for p in other.parameters()} == {(torch.float32, "cpu")}

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("img_resolution", 16),
            ("img_channels", 1),
            ("label_dim", 2),
            ("augment_dim", 2),
            ("model_channels", 16),
            ("channel_mult", (1, 2)),
            ("channel_mult_emb", 2),
            ("num_blocks", 2),
            ("attn_resolutions", [4]),
            ("embedding_type", "fourier"),
            ("channel_mult_noise", 2),
            ("encoder_type", "skip"),
            ("encoder_type", "residual"),
            ("decoder_type", "skip"),
            ("resample_filter", [1, 3, 3, 1]),
        ],
    )
    def test_every_argument_reaches_the_network(self, argument: str, value: Any) -> None:
        def shapes(arguments: dict[str, Any]) -> dict[str, torch.Size]:
            return {
                name: tensor.shape
                for name, tensor in network_of_class("EDMPrecond", arguments).state_dict().items()
            }

        assert shapes({**TINY, argument: value}) != shapes(TINY)

    @pytest.mark.parametrize(
        ("class_name", "sizes", "millions"),
        [
            (
                "VPPrecond",
                {"img_resolution": 32, "channel_mult": [2, 2, 2], "augment_dim": 9},
                55.734,
            ),
            (
                "EDMPrecond",
                {"img_resolution": 64, "label_dim": 1000, "model_channels": 192},
                295.899,
            ),
        ],
    )
    def test_it_has_as_many_parameters(
        self, class_name: str, sizes: dict[str, Any], millions: float
    ) -> None:
        """Of the published models of CIFAR-10 and ImageNet-64, 56 and 296 million (table 7)."""
        with torch.device("meta"):
            denoiser = network_of_class(class_name, {"img_channels": 3, **sizes})
        assert sum(p.numel() for p in denoiser.parameters()) / 1e6 == pytest.approx(
            millions, abs=5e-4
        )


class Loud:
    def __repr__(self) -> str:
        raise AssertionError("nothing that a file holds is asked to print itself")


class TestRefusals:
    @pytest.mark.parametrize(
        ("argument", "value", "accepted"),
        [
            ("img_resolution", 2048, "an integer from 1 to 1024"),
            ("img_resolution", 8.0, "an integer"),
            ("img_resolution", True, "an integer"),
            pytest.param("img_resolution", 10**5000, "an integer", id="huge"),
            ("img_channels", 0, "an integer from 1 to 64"),
            ("label_dim", -1, "an integer from 0 to 100000"),
            ("label_dim", 100_001, "an integer from 0 to 100000"),
            ("label_dim", None, "an integer"),
            ("use_fp16", 1, "one of True, False"),
            ("model_type", "exec", "one of 'SongUNet', 'DhariwalUNet'"),
            ("model_type", ["SongUNet"], "one of"),
            ("model_type", Loud(), "one of"),
            ("model_channels", 2049, "an integer from 4 to 2048"),
            ("channel_mult", 2, "a list of 1 to 16 entries"),
            ("channel_mult", [], "a list of 1 to 16"),
            ("channel_mult", [1] * 17, "a list of 1 to 16"),
            ("channel_mult", [1, 0.5], "each an integer from 1 to 64"),
            ("channel_mult", "12", "a list"),
            ("channel_mult", [Loud()], "a list"),
            ("channel_mult_emb", 0, "an integer"),
            ("num_blocks", 33, "an integer from 1 to 32"),
            ("attn_resolutions", [16, -1], "each an integer from 1"),
            ("dropout", math.nan, "a number from 0 to 1"),
            ("dropout", "0.1", "a number"),
            ("augment_dim", 1001, "an integer"),
            ("embedding_type", "learned", "'positional', 'fourier'"),
            ("encoder_type", None, "'standard', 'skip', 'residual'"),
            ("decoder_type", "residual", "'standard', 'skip'"),
            ("channel_mult_noise", -2, "an integer"),
            ("resample_filter", [1, math.inf], "each a number"),
            ("resample_filter", [1, 2, 1], "an even number of taps"),
            ("resample_filter", [1, -1], "sum is not zero"),
            ("sigma_data", 0, "a number from 1e-06"),
            ("sigma_data", math.inf, "a number"),
            ("sigma_max", -1.0, "a number from 0 to inf"),
        ],
    )
    def test_a_value(self, argument: str, value: Any, accepted: str) -> None:
        with pytest.raises(
            InputError, match=rf"^EDMPrecond: argument '{argument}' is .*{re.escape(accepted)}"
        ) as rejected:
            network_of_class("EDMPrecond", {**TINY, argument: value})
        assert len(str(rejected.value)) < 300

    @pytest.mark.parametrize(
        ("class_name", "argument", "value"),
        [
            ("VPPrecond", "beta_d", 0),
            ("VPPrecond", "M", 1),
            ("VPPrecond", "epsilon_t", 2),
            ("VEPrecond", "sigma_min", -1),
            ("iDDPMPrecond", "C_1", 0),
            ("iDDPMPrecond", "C_2", math.nan),
            ("iDDPMPrecond", "M", 10**6),
        ],
    )
    def test_a_value_of_another_preconditioning(
        self, class_name: str, argument: str, value: Any
    ) -> None:
        with pytest.raises(InputError, match=f"^{class_name}: argument '{argument}' is "):
            network_of_class(class_name, {**TINY, argument: value})

    @pytest.mark.parametrize(
        ("class_name", "changes", "unknown"),
        [
            ("EDMPrecond", {"spam": 1}, "'spam'"),
            ("EDMPrecond", {"M": 1000}, "'M'"),
            ("VPPrecond", {"C_1": 1}, "'C_1'"),
            (
                "EDMPrecond",
                {"model_type": "DhariwalUNet", "embedding_type": "fourier"},
                "'embedding_type'",
            ),
            ("EDMPrecond", {3: 4}, "3"),
            ("EDMPrecond", {"out_channels": 5}, "'out_channels'"),
            ("EDMPrecond", {Loud(): 4}, "a Loud"),
        ],
    )
    def test_an_unknown_argument(
        self, class_name: str, changes: dict[Any, Any], unknown: str
    ) -> None:
        with pytest.raises(
            InputError,
            match=f"^{class_name}: argument {unknown} is unknown; accepted: img_resolution, "
            ".*dropout",
        ):
            network_of_class(class_name, {**TINY, **changes})

    def test_a_missing_argument(self) -> None:
        with pytest.raises(InputError, match=r"^VPPrecond: argument 'img_channels' is missing"):
            network_of_class("VPPrecond", {"img_resolution": 32})

    @pytest.mark.parametrize("class_name", ["DDPMPrecond", "__import__", ""])
    def test_an_unknown_class(self, class_name: str) -> None:
        with pytest.raises(InputError, match=f"'{class_name}'; accepted: .*iDDPMPrecond"):
            network_of_class(class_name, TINY)

    def test_a_network_too_large(self) -> None:
        """Of a hundred terabytes: it would not fit, and takes no memory."""
        large = {
            **TINY,
            "img_resolution": 1024,
            "model_channels": 2048,
            "channel_mult": [64] * 8,
            "num_blocks": 8,
        }
        with pytest.raises(
            InputError,
            match=rf"^EDMPrecond: its arguments request a network of \d{{13,}} parameters; "
            r"accepted: at "
            rf"most {MOST_PARAMETERS}",
        ):
            network_of_class("EDMPrecond", large)

    def test_numbers_that_do_not_fit_together(self) -> None:
        with pytest.raises(InputError, match="resolution 12; accepted: multiples of 8"):
            network_of_class(
                "EDMPrecond", {**TINY, "img_resolution": 12, "channel_mult": [1, 1, 1, 1]}
            )
