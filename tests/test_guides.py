"""Published guides as degradations: what they are exactly."""

import math

import pytest
import torch

from degradations import Draws, InputError, Pair, QueryBlur, SkipBlock, parse, score
from degradations.blur import blur
from study.models import ExactGaussian
from tests.helpers import small_network, small_transformer

X = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("std", [0.4, 1.5, 50.0])
def test_query_blur_blurs_the_queries(std: float) -> None:
    """Smoothed energy guidance: softmax((G q)·kᵀ/√d), found from the map of attention alone."""
    q, k = torch.randn(2, 3, 2, 16, 5, dtype=torch.float64)  # [samples, heads, 4·4, features]
    attention = (q @ k.mT / math.sqrt(5)).softmax(-1)
    smooth = blur(q.mT.reshape(-1, 5, 4, 4), std).reshape(3, 2, 5, 16).mT
    expected = (smooth @ k.mT / math.sqrt(5)).softmax(-1)
    torch.testing.assert_close(QueryBlur(std)._blur(attention, None), expected)


def test_query_blur_is_of_square_maps() -> None:
    with pytest.raises(InputError, match=r"query-blur\(1\): found 6 positions; accepted: those of"):
        QueryBlur(1.0)._blur(torch.rand(1, 1, 6, 6), None)


def test_a_skipped_block_is_one_residual_branch_less() -> None:
    """Of the MLP's two blocks h + f(h), each by its number from either end."""
    base = small_network(16)
    for block, name in ((0, "blocks.0"), (1, "blocks.1"), (-1, "blocks.1")):
        found = SkipBlock(1.0, block=block)(base)(X, 1.0, LABEL)
        site = base.get_submodule(f"network.{name}.block")
        hook = site.register_forward_hook(lambda module, args, output: 0 * output)
        expected = base(X, 1.0, LABEL)
        hook.remove()
        assert torch.equal(found, expected)
        assert not torch.equal(found, base(X, 1.0, LABEL))
    both = parse("skip-block(1)+skip-block(1, block=1)")(base)
    assert not torch.equal(both(X, 1.0, LABEL), SkipBlock(1.0)(base)(X, 1.0, LABEL))


@pytest.mark.parametrize("block", [2, -3])
def test_a_block_that_is_not_there_is_named(block: int) -> None:
    with pytest.raises(InputError, match=rf"found block {block}; accepted: -2 to 1"):
        SkipBlock(1.0, block=block)(small_network(16))


def test_every_block_of_a_transformer_has_a_number() -> None:
    base = small_transformer()
    found = [SkipBlock(1.0, block=block)(base)(X, 1.0, LABEL) for block in range(4)]
    for number, each in enumerate(found):
        assert not torch.equal(each, base(X, 1.0, LABEL))
        assert not any(torch.equal(each, other) for other in found[:number])


def test_naive_truncation_is_guidance_by_no_denoising() -> None:
    """A score times w (Karras et al. 2024, § 2)."""
    base, x = ExactGaussian(0.5), torch.randn(5, 3, dtype=torch.float64)
    guided = Pair(base, "none", "score(-1)").at(1.4)
    found = score(guided(x, 2.0, None, Draws(0)), x, 2.0)
    torch.testing.assert_close(found, 1.4 * score(base(x, 2.0), x, 2.0))
