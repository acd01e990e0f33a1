"""diffusers' networks as denoisers: their outputs, sites, degradations, draws and precisions."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from degradations import Draws, InputError, Pair, Site, parse
from degradations.parsing import kinds
from study.models.diffusers import Loaded, load_diffusers
from tests.diffusers_models import MODELS, acting, diffusers, network_of, noisy, plain, saved, sited

ROLES = {"attention", "block", "dropout", "label", "map"}


@pytest.fixture(scope="module", params=MODELS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Loaded]:
    """A model as diffusers has it, and as a denoiser."""
    model, folder = MODELS[request.param](), tmp_path_factory.mktemp(request.param)
    return model, load_diffusers(str(saved(folder, model, request.param)), folder)


def test_without_actions_the_network_is_bit_for_bit_that_of_diffusers(
    pair: tuple[Any, Loaded],
) -> None:
    model, loaded = pair
    label = torch.tensor([0, 1, 2, 1])
    assert loaded.denoiser.sites() == ROLES
    assert loaded.classes == 3
    assert loaded.shape == (model.config.in_channels, 8, 8)
    assert loaded.decoder is None
    assert torch.equal(sited(loaded, label), plain(model, loaded, label))
    assert plain(model, loaded, label).std() > 0.05


def test_an_attention_map_that_is_made_gives_what_the_fast_kernel_gives(
    pair: tuple[Any, Loaded],
) -> None:
    maps: list[Tensor] = []

    def keep(attention: Tensor) -> Tensor:
        maps.append(attention)
        return attention

    found = acting(pair[1], "attention", keep)
    torch.testing.assert_close(found, sited(pair[1], torch.tensor([0, 1, 2, 1])), atol=2e-6, rtol=0)
    heads = 2 if pair[1].shape[0] == 4 else 4
    assert {a.shape for a in maps} == {(4, heads, 16, 16)}
    for a in maps:
        torch.testing.assert_close(a.sum(dim=-1), torch.ones(4, heads, 16))


def silenced(model: Any, names: tuple[str, ...], bias: bool) -> Any:
    """A copy with the weights, and perhaps the biases, of certain layers at zero."""
    model = copy.deepcopy(model)
    for name, layer in model.named_modules():
        if name.endswith(names):
            layer.weight.data.zero_()
            if bias:
                layer.bias.data.zero_()
    return model


def test_a_block_site_is_the_whole_branch_and_a_dropout_site_what_enters_its_last_layer(
    pair: tuple[Any, Loaded],
) -> None:
    model, loaded = pair
    label = torch.tensor([0, 1, 2, 1])
    without = silenced(model, ("conv2", "to_out.0", "ff.net.2"), bias=True)
    torch.testing.assert_close(
        acting(loaded, "block", torch.zeros_like), plain(without, loaded, label)
    )
    dropped = silenced(model, ("conv2", "ff.net.2"), bias=False)
    torch.testing.assert_close(
        acting(loaded, "dropout", torch.zeros_like), plain(dropped, loaded, label)
    )


def test_a_map_site_is_what_enters_a_block_by_rows_and_columns(pair: tuple[Any, Loaded]) -> None:
    model, loaded = pair
    model = copy.deepcopy(model)
    # tokens, with the rows of their 4 × 4 grid reversed
    order = torch.arange(16).reshape(4, 4).flip(0).flatten()
    for module in model.modules():
        if type(module).__name__ == "ResnetBlock2D":
            module.register_forward_pre_hook(lambda _, args: (args[0].flip(2), *args[1:]))
        if type(module).__name__ == "BasicTransformerBlock":
            module.register_forward_pre_hook(lambda _, args: (args[0][:, order], *args[1:]))
    label = torch.tensor([0, 1, 2, 1])
    assert torch.equal(acting(loaded, "map", lambda h: h.flip(2)), plain(model, loaded, label))
    assert not torch.equal(plain(model, loaded, label), sited(loaded, label))


STRENGTHS = {"quantize": 4, "input-quantize": 4, "feature-quantize": 4}


@pytest.mark.parametrize("kind", kinds())
def test_every_degradation_acts_and_leaves_the_base_alone(
    pair: tuple[Any, Loaded], kind: str
) -> None:
    base = pair[1].denoiser
    x, sigma, label = noisy(pair[1])
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    found = base(x, sigma, label)
    degradation = parse(f"{kind}({STRENGTHS.get(kind, 0.5)})")
    if kind == "classifier" or (kind == "windows" and base.crops is None):
        with pytest.raises(InputError, match=r"without a classifier|a network of whole images"):
            degradation(base)
        return
    degraded = degradation(base)
    worse = degraded(x, sigma, label, Draws(0))
    assert worse.isfinite().all()
    assert not torch.equal(worse, found)
    assert torch.equal(worse, degradation(base)(x, sigma, label, Draws(0)))
    twice = degradation(degraded)
    if kind != "map-swap":  # which may swap back
        assert not torch.equal(twice(x, sigma, label, Draws(0)), found)
    assert torch.equal(worse, degraded(x, sigma, label, Draws(0)))
    assert torch.equal(base(x, sigma, label), found)
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    identity = kinds()[kind](kinds()[kind].identity)(base)
    assert torch.equal(identity(x, sigma, label, Draws(0)), found)


def test_a_random_degradation_without_draws_is_rejected_and_leaves_none_behind(
    pair: tuple[Any, Loaded],
) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    degraded = parse("dropout(0.5)")(base)
    with pytest.raises(InputError, match="draws"):
        degraded(x, sigma, label)

    def fails(h: Tensor, draws: Draws | None) -> Tensor:
        assert draws is not None
        raise ZeroDivisionError

    failing = base.with_sites("block", lambda site: site.then(fails), wanted_by="a test")
    with pytest.raises(ZeroDivisionError):
        failing(x, sigma, label, Draws(0))
    calls = [network_of(denoiser).call for denoiser in (base, degraded, failing)]
    assert len(set(map(id, calls))) == 3  # each clone has its own
    assert all((call.draws, call.label) == (None, None) for call in calls)


def test_a_call_within_a_call_keeps_its_own_draws(pair: tuple[Any, Loaded]) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    seen: list[Draws | None] = []

    def nested(h: Tensor, draws: Draws | None) -> Tensor:
        seen.append(draws)
        if len(seen) == 1:
            outer(x, sigma, label, inner_draws)
        return h

    outer_draws, inner_draws = Draws(0), Draws(1)
    outer = base.with_sites("map", lambda site: site.then(nested), wanted_by="a test")
    outer(x, sigma, label, outer_draws)
    blocks = len(seen) // 2
    assert seen == [outer_draws] + [inner_draws] * blocks + [outer_draws] * (blocks - 1)
    assert blocks >= 2


def test_shared_draws_are_nested_and_independent_ones_are_not(pair: tuple[Any, Loaded]) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    kept: dict[str, Tensor] = {}

    def first_mask(name: str) -> Callable[[Site], Site]:
        def look(h: Tensor, draws: Draws | None) -> Tensor:
            kept.setdefault(name, h != 0)
            return h

        return lambda site: site.then(look)

    for coupling in ("shared", "independent"):
        two = Pair(base, parse("dropout(0.3)"), parse("dropout(0.6)"), coupling)
        guided = two.at(2.0)
        kept.clear()
        guided.main = two.main.with_sites("dropout", first_mask("main"), wanted_by="a test")
        guided.guide = two.guide.with_sites("dropout", first_mask("guide"), wanted_by="a test")
        guided(x, sigma, label, Draws(0))
        assert 0.6 < kept["main"].float().mean() < 0.8
        assert 0.3 < kept["guide"].float().mean() < 0.5
        assert (coupling == "shared") == bool((kept["guide"] <= kept["main"]).all())


def test_a_sample_without_a_label_gets_no_class(pair: tuple[Any, Loaded]) -> None:
    model, loaded = pair
    none = torch.full((4,), -1)
    if isinstance(model, diffusers.UNet2DModel):
        model = copy.deepcopy(model)
        model.class_embedding.weight.data[0] = 0
        expected = plain(model, loaded, torch.zeros(4, dtype=torch.long))
    else:
        expected = plain(model, loaded, torch.full((4,), 3))
    assert torch.equal(sited(loaded, none), expected)
    assert torch.equal(sited(loaded, None), expected)
    mixed = sited(loaded, torch.tensor([2, -1, -1, 1]))
    torch.testing.assert_close(mixed[1:3], expected[1:3])
    torch.testing.assert_close(
        mixed[[0, 3]], plain(pair[0], loaded, torch.tensor([2, 0, 0, 1]))[[0, 3]]
    )
    assert not torch.allclose(mixed[0], expected[0])
    dropped = parse("label-drop(1)")(loaded.denoiser)
    x, sigma, label = noisy(loaded)
    assert torch.equal(dropped(x, sigma, label, Draws(0)), loaded.denoiser(x, sigma))


@pytest.mark.parametrize(("precision", "close"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
def test_low_precision_is_close_and_does_not_touch_what_shares_weights(
    pair: tuple[Any, Loaded], precision: torch.dtype, close: float
) -> None:
    base, (x, sigma, label) = pair[1].denoiser, noisy(pair[1])
    low = base.with_sites(
        "attention", lambda site: site.then(lambda h, draws: h), wanted_by="a test"
    )
    found = base(x, sigma, label)
    network_of(low).use(precision)
    rough = low(x, sigma, label)
    assert rough.dtype == torch.float32
    assert {weight.dtype for weight in low.parameters()} == {precision}
    assert not torch.equal(rough, found)
    error = (rough - found).square().mean() / (found - x).square().mean()
    assert error.sqrt() < close
    assert torch.equal(base(x, sigma, label), found)
    with pytest.raises(InputError, match="float64"):
        network_of(low).use(torch.float64)
