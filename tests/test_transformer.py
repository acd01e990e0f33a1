import pytest
import torch

from degradations import Draws, InputError
from study.models import EDM, PatchTransformer
from tests.helpers import small_transformer


def noisy(n: int = 8) -> torch.Tensor:
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_new_one_says_nothing() -> None:
    """Zero output layers: D = c_skip·x + c_out·bias of the last layer, the same for every patch."""
    network = PatchTransformer((3, 8, 4), classes=0)
    x = torch.randn(5, 3, 8, 4)
    out = network(x, torch.zeros(5), None, None)
    assert out.shape == x.shape
    torch.testing.assert_close(out, out[:1, :, :2, :2].tile(5, 1, 4, 2))


def test_a_pixel_goes_back_to_its_place() -> None:
    """With no blocks, and layers that read and write a patch as it is, the network is the
    identity."""
    network = PatchTransformer((2, 6, 4), classes=0, width=8, hidden=8, blocks=0, heads=1, patch=2)
    for layer in (network.enter, network.leave):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.zeros_(network.positions)
    network.norm = torch.nn.Identity()  # type: ignore[assignment]
    x = torch.randn(3, 2, 6, 4)
    assert torch.equal(network(x, torch.zeros(1), None, None), x)


def test_attention_is_pytorchs() -> None:
    """The written-out attention against the fused one."""
    attention = small_transformer().network.blocks[0].attention  # type: ignore[union-attr, index]
    h = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
    q, k, v = attention.project(attention.norm(h)).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(h, None), h + attention.leave(fused))


def test_positions_matter_and_samples_do_not_mix() -> None:
    denoiser, x = small_transformer(), noisy()
    out = denoiser(x, 0.7)
    assert not torch.allclose(denoiser(x.roll(1, dims=3), 0.7), out.roll(1, dims=3), atol=1e-3)
    torch.testing.assert_close(denoiser(x[2:3], 0.7), out[2:3])
    sigma = torch.linspace(0.1, 2, 8)
    torch.testing.assert_close(denoiser(x, sigma)[5:6], denoiser(x[5:6], float(sigma[5])))


def test_it_can_learn() -> None:
    """Every parameter gets a gradient, those behind the zero-initialised layers after one step."""
    torch.manual_seed(0)
    denoiser = EDM(PatchTransformer((1, 4, 4), 3, width=16, hidden=24, blocks=2, heads=2), 0.5)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.01)
    y, label = (
        torch.full((64, 1, 4, 4), 0.5) * (torch.arange(64) % 3 - 1)[:, None, None, None],
        torch.arange(64) % 3,
    )
    losses = []
    for _ in range(60):
        loss = ((denoiser(y + torch.randn_like(y), 1.0, label) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(
        bool((parameter.grad != 0).any())
        for parameter in denoiser.parameters()
        if parameter.grad is not None
    )
    assert all(parameter.grad is not None for parameter in denoiser.parameters())
    assert losses[-1] < 0.2 * losses[0]


def test_its_sites() -> None:
    assert small_transformer().sites() == {"attention", "block", "dropout", "label", "map"}
    assert small_transformer(classes=0).sites() == {"attention", "block", "dropout", "map"}


@pytest.mark.parametrize(
    ("shape", "width", "says"),
    [
        ((16,), 16, r"\[C, H, W\]"),
        ((1, 5, 4), 16, "multiples of 2"),
        ((1, 4, 5), 16, "multiples of 2"),
        ((1, 4, 4), 18, "18; accepted: multiples of 4, the heads"),
    ],
)
def test_bad_shapes_are_rejected(shape: tuple[int, ...], width: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        PatchTransformer(shape, 0, width=width)


def test_it_draws_nothing() -> None:
    draws = Draws(0)
    small_transformer()(noisy(), 0.7, None, draws)
    assert torch.equal(draws.normal("dropout", noisy()), Draws(0).normal("dropout", noisy()))
