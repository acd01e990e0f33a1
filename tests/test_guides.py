"""Published guides as degradations: what they are exactly."""

import math

import pytest
import torch

from degradations import Draws, InputError, MapSwap, Pair, QueryBlur, SkipBlock, parse, score
from degradations.blur import blur
from study.models import ExactGaussian
from tests.helpers import small_network, small_transformer, small_unet

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


@pytest.mark.parametrize(("s", "length"), [(0.25, 3), (0.5, 2), (0.4, 2)])
def test_windows_are_the_mean_over_four_corners(s: float, length: int) -> None:
    """Sliding window guidance, by hand, with labels and a noise level for each sample."""
    base, sigma = small_unet(), torch.tensor([0.3, 1.0, 2.0, 0.7])
    total, count = torch.zeros_like(X), torch.zeros_like(X)
    for row in (0, 4 - length):
        for column in (0, 4 - length):
            window = (..., slice(row, row + length), slice(column, column + length))
            total[window] += base(X[window], sigma, LABEL)
            count[window] += 1
    torch.testing.assert_close(parse(f"windows({s})")(base)(X, sigma, LABEL), total / count)
    one = parse(f"windows({s})")(base)(X, 0.5, LABEL)
    torch.testing.assert_close(one, parse(f"windows({s})")(base)(X, torch.full((4,), 0.5), LABEL))


def test_windows_of_independent_pixels_change_nothing() -> None:
    base = ExactGaussian(0.5)
    torch.testing.assert_close(parse("windows(0.25)")(base)(X, 0.7), base(X, 0.7))
    guided = Pair(small_unet(), "none", "windows(0.5)").at(2.0)(X, 0.7, LABEL)
    main, guide = small_unet()(X, 0.7, LABEL), parse("windows(0.5)")(small_unet())(X, 0.7, LABEL)
    torch.testing.assert_close(guided, 2 * main - guide)


def test_windows_are_refused_where_they_mean_nothing() -> None:
    with pytest.raises(InputError, match=r"windows\(0\.5\): found a network of whole images"):
        parse("windows(0.5)")(small_transformer())
    with pytest.raises(InputError, match=r"sides of 4 pixels; accepted .* shorter, .* of 1"):
        parse("windows(0.1)")(small_unet())(X, 0.7, LABEL)
    with pytest.raises(InputError, match=r"samples of shape \[4, 16\]"):
        parse("windows(0.5)")(ExactGaussian(1))(X.flatten(1), 0.7)


def test_the_most_unlike_positions_are_swapped() -> None:
    """Self-swap guidance: by hand, pair after pair among the positions that are left."""
    h = torch.randn(3, 5, 2, 4, generator=torch.Generator().manual_seed(1))
    for share, pairs in ((0.3, 1), (0.5, 2), (1.0, 4)):
        expected = h.clone().flatten(2)
        for sample in range(3):
            left = set(range(8))
            tokens = h[sample].flatten(1)
            for _ in range(pairs):
                a, b = min(
                    ((i, j) for i in left for j in left if i < j),
                    key=lambda ij: float(torch.cosine_similarity(*tokens[:, list(ij)].T, dim=0)),
                )
                expected[sample][:, [a, b]] = tokens[:, [b, a]]
                left -= {a, b}
        assert torch.equal(MapSwap(share)._swap(h, None), expected.reshape(h.shape))
