"""The sites of the U-Nets DDPM++, NCSN++ and ADM."""

import pytest
import torch
from torch import Tensor

from degradations import Denoiser, Draws, parse
from study.models.unet_blocks import Block, Style
from tests.unet_networks import every, inputs, noise, random, small


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
