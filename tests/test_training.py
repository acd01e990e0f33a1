import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from degradations import InputError
from study.checkpoints import WIDTHS, is_kept, kept_up_to, load_base, snapshot_path
from study.checkpoints.snapshots import LEAST_WIDTH, MOST_WIDTH
from study.data import load_data
from study.files.atomic import sha256
from study.lightning.train import TrainDenoiser, train
from study.specs import NetworkSpec, RecipeSpec
from study.training import (
    STATE,
    Profile,
    exponent,
    inner,
    noise_levels,
    objective_of,
    reconstruct,
    update,
)

TINY = RecipeSpec(data="digits", network=NetworkSpec(16, 24, 2, 8), steps=30, batch=16, seed=3)

EDM = objective_of("edm")


def test_noise_levels_are_log_normal() -> None:
    sigma = noise_levels(RecipeSpec(), 100_000, torch.Generator().manual_seed(0)).log()
    assert float(sigma.mean()) == pytest.approx(-0.6, abs=4 * 1.3 / math.sqrt(1e5))
    assert float(sigma.std()) == pytest.approx(1.3, rel=0.01)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_noise_levels_are_those_of_ddpm_s_schedules(schedule: str) -> None:
    """The quantiles of a million are the noise levels of the discrete schedules, ᾱ = ∏(1 − β)."""
    if schedule == "linear":
        betas = np.linspace(1e-4, 0.02, 1000)  # Ho et al. 2020, § 4
    else:
        f = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - f[1:] / f[:-1], 0.999)  # Nichol & Dhariwal 2021, eq. 17
    alpha_bar = np.cumprod(1 - betas)
    wanted = np.sqrt((1 - alpha_bar) / alpha_bar)
    recipe = RecipeSpec(noise_levels=schedule)  # type: ignore[arg-type]
    found = noise_levels(recipe, 1_000_000, torch.Generator().manual_seed(0)).numpy()
    assert found.min() > 0
    at = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    time = np.interp(np.log(np.quantile(found, at)), np.log(wanted), np.arange(1, 1001) / 1000)
    # a quantile's own error is 5e-4 in time, a step of the discrete schedule 1e-3
    np.testing.assert_allclose(time, at, atol=0.003)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.2])
def test_ema_profile_has_the_asked_width(sigma_rel: float) -> None:
    """The weight that each step's value has in the average, found by averaging unit vectors, has
    the relative width."""
    steps = 2000
    average, gamma = torch.zeros(steps, dtype=torch.float64), exponent(sigma_rel)
    for t in range(1, steps + 1):
        now = torch.zeros(steps, dtype=torch.float64)
        now[t - 1] = 1
        update([average], [now], t, gamma)
    time = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    mean = float(average @ time)
    assert float(average.sum()) == pytest.approx(1)
    assert math.sqrt(float(average @ (time - mean) ** 2)) == pytest.approx(sigma_rel, rel=0.01)
    density = (gamma + 1) * time**gamma / steps
    np.testing.assert_allclose(average[500:].numpy(), density[500:].numpy(), rtol=0.05)


def test_ema_width_is_checked() -> None:
    with pytest.raises(InputError, match="width"):
        exponent(0.4)


@pytest.mark.parametrize(
    ("p", "q"), [((10, 6.9), (10, 6.9)), ((3, 16.97), (8, 2.6)), ((64, 0.5), (7, 20.0))]
)
def test_inner_products_are_those_of_quadrature(
    p: tuple[float, float], q: tuple[float, float]
) -> None:
    def density(profile: tuple[float, float], t: float) -> float:
        step, gamma = profile
        return (gamma + 1) * t**gamma / step ** (gamma + 1) if t <= step else 0.0

    ends = sorted((p[0], q[0]))
    found, _ = quad(
        lambda t: density(p, t) * density(q, t),
        0,
        ends[1],
        points=ends[:1],
        epsabs=1e-13,
        epsrel=1e-11,
    )
    assert inner(Profile(*p), Profile(*q)) == pytest.approx(found, rel=1e-8)
    assert inner(Profile(*q), Profile(*p)) == inner(Profile(*p), Profile(*q))


def profiles(step: int) -> list[Profile]:
    return [Profile(t, exponent(width)) for t in kept_up_to(step) for width in WIDTHS]


@pytest.mark.parametrize("step", [4, 8, 64, 300, 512, 10000, 16384, 16385, 20000, 32767])
def test_what_is_kept_makes_every_accepted_width_to_5_percent(step: int) -> None:
    for width in np.linspace(LEAST_WIDTH, MOST_WIDTH, 41):
        coefficients, error = reconstruct(profiles(step), Profile(step, exponent(width)))
        assert error < 0.05
        assert coefficients.sum() == pytest.approx(1, abs=1e-9)
    for width in WIDTHS:
        coefficients, error = reconstruct(profiles(step), Profile(step, exponent(width)))
        assert error == 0
        assert sorted(coefficients)[-2:] == [0, 1]


def test_the_error_of_a_reconstruction_is_that_of_the_weights_of_the_steps() -> None:
    """Averages of unit vectors are the profiles themselves, so their sum's distance is the error,
    but for rounding."""
    steps, wanted = 3000, 0.15
    recorded: dict[Profile, torch.Tensor] = {}
    tracks = [
        (exponent(width), torch.zeros(steps, dtype=torch.float64)) for width in (*WIDTHS, wanted)
    ]
    for t in range(1, steps + 1):
        now = torch.zeros(steps, dtype=torch.float64)
        now[t - 1] = 1
        for gamma, average in tracks:
            update([average], [now], t, gamma)
            if t in kept_up_to(steps):
                recorded[Profile(t, gamma)] = average.clone()
    target = Profile(steps, exponent(wanted))
    kept = [p for p in recorded if p.gamma != target.gamma]
    coefficients, error = reconstruct(kept, target)
    found = sum(
        (c * recorded[p] for c, p in zip(coefficients, kept, strict=True)), torch.zeros(steps)
    )
    distance = (found - recorded[target]).norm() / recorded[target].norm()
    assert 0.005 < error < 0.05
    assert float(distance) == pytest.approx(error, rel=0.02)


def test_what_comes_later_has_no_part_in_a_reconstruction() -> None:
    target = Profile(256, exponent(0.07))
    before, error = reconstruct(profiles(256), target)
    after, same = reconstruct(profiles(4096), target)
    used = {p: c for p, c in zip(profiles(4096), after, strict=True) if c}
    assert same == pytest.approx(error)
    assert [used[p] for p in profiles(256)] == pytest.approx(list(before))
    assert len(used) == len(before)
    with pytest.raises(InputError, match="no average up to step 256"):
        reconstruct([Profile(512, 3.0)], target)


@pytest.mark.parametrize(
    ("step", "steps", "kept"),
    [(1, 9, True), (6, 9, False), (8, 9, True), (9, 9, True), (16, 9, False), (0, 9, False)],
)
def test_powers_of_two_and_the_last_step_are_kept(step: int, steps: int, kept: bool) -> None:
    assert is_kept(step, steps) == kept
    assert kept_up_to(9) == [1, 2, 4, 8, 9]
    assert kept_up_to(8) == [1, 2, 4, 8]
    assert kept_up_to(1) == [1]


@pytest.mark.parametrize("name", ["digits", "fractal"])
def test_a_split_is_stratified_nested_and_whole(name: str) -> None:
    data = load_data(name)
    before: set[bytes] = set()
    for share in (1e-9, 0.25, 0.8, 1.0):
        trained, held_out = data.split(share)
        assert len(trained.samples) == max(1, round(share * len(data.samples)))
        rows = [{row.numpy().tobytes() for row in part.samples} for part in (trained, held_out)]
        assert not rows[0] & rows[1]
        assert rows[0] | rows[1] == {row.numpy().tobytes() for row in data.samples}
        assert before <= rows[0]
        before = rows[0]
        if data.counts is not None and trained.counts is not None and held_out.counts is not None:
            assert torch.equal(trained.counts + held_out.counts, data.counts)
            assert float((trained.counts - share * data.counts).abs().max()) <= 1
    assert torch.equal(data.split(1.0)[0].samples, data.samples)
    with pytest.raises(InputError, match=r"share 1.5; accepted: above 0 and at most 1"):
        data.split(1.5)


def test_labels_stay_with_their_samples() -> None:
    data = load_data("digits")
    assert data.labels is not None
    label = {x.numpy().tobytes(): int(y) for x, y in zip(data.samples, data.labels, strict=True)}
    for part in data.split(0.3):
        assert part.labels is not None
        assert all(
            label[x.numpy().tobytes()] == int(y)
            for x, y in zip(part.samples, part.labels, strict=True)
        )


def test_only_the_share_is_trained_on() -> None:
    data = load_data("digits")
    module = TrainDenoiser(replace(TINY, samples=0.2), data)
    assert torch.equal(module.data.samples, data.split(0.2)[0].samples)


def test_training_lowers_the_loss_and_its_card_loads(tmp_path: Path) -> None:
    recipe = replace(TINY, steps=400, batch=64, lr=5e-3)
    folder = train(recipe, load_data(recipe.data), tmp_path / "base", "a test", progress=False)
    base = load_base(folder, "digits")
    generator = torch.Generator().manual_seed(9)
    y, label = (
        base.data.samples[:500],
        base.data.labels[:500] if base.data.labels is not None else None,
    )
    noise = torch.randn(y.shape, generator=generator)
    sigma = noise_levels(RecipeSpec(), 500, generator)
    fresh = TrainDenoiser(recipe, base.data).denoiser
    with torch.no_grad():
        trained, before = (
            float(EDM.loss(d, y, noise, sigma, label, 0.75)) for d in (base.denoiser, fresh)
        )
    assert trained < 0.75 * before
    card = json.loads((folder / "card.json").read_text())
    assert card["made_by"] == "a test"
    assert card["recipe"]["steps"] == 400
    assert not any(p.requires_grad for p in base.denoiser.parameters())


def test_interrupted_training_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(TINY, load_data(TINY.data), tmp_path / "whole", "", progress=False, save_every=10)
    step = TrainDenoiser.training_step

    def stop_at_17(self: TrainDenoiser, batch: int, index: int) -> torch.Tensor:
        if self.global_step == 17:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(TrainDenoiser, "training_step", stop_at_17)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, load_data(TINY.data), tmp_path / "parts", "", progress=False, save_every=10)
    assert not (tmp_path / "parts" / "card.json").exists()
    monkeypatch.setattr(TrainDenoiser, "training_step", step)
    parts = train(TINY, load_data(TINY.data), tmp_path / "parts", "", progress=False, save_every=10)
    assert written(parts) == written(whole)


def test_training_until_a_step_and_then_on_is_training_through(tmp_path: Path) -> None:
    whole = train(TINY, load_data(TINY.data), tmp_path / "whole", "", progress=False)
    steps, widths = (1, 2, 4, 8, 16, 30), ("0.05", "0.10", "0.20")
    names = [path.name for path in sorted((whole / "snapshots").iterdir())]
    assert names == [f"{step:09d}-{width}.safetensors" for step in steps for width in widths]
    parts = tmp_path / "parts"
    for until in (8, 4, 13):
        train(TINY, load_data(TINY.data), parts, "", progress=False, until=until)
        assert not (parts / "card.json").exists()
    so_far = written(parts)
    assert len(so_far) == 4 * len(WIDTHS)
    assert so_far.items() <= written(whole).items()
    train(TINY, load_data(TINY.data), parts, "", progress=False)
    assert written(parts) == written(whole)
    assert (parts / "card.json").exists()


def test_a_snapshot_of_the_recipes_width_is_the_average(tmp_path: Path) -> None:
    folder = train(replace(TINY, ema=0.1), load_data(TINY.data), tmp_path, "", progress=False)
    assert sha256(snapshot_path(folder, TINY.steps, 0.1)) == sha256(folder / "weights.safetensors")


def written(folder: Path) -> dict[str, bytes]:
    """All weights that a training has written, by file."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")
    }


def test_state_is_read_as_weights_only(tmp_path: Path) -> None:
    folder = train(replace(TINY, steps=5), load_data(TINY.data), tmp_path, "", progress=False)
    state = torch.load(folder / STATE, weights_only=True)
    assert state["global_step"] == 5
