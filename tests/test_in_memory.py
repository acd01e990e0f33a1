"""Studies of a denoiser in memory: what is compared with what, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import study
from degradations import InputError
from study.checkpoints import load_base
from study.models import ExactGaussian, wrap
from study.specs import StudySpec

SPEC = {
    "name": "mine",
    "extractors": ["pixels"],
    "sampler": {"steps": 8, "sigma_max": 40, "chunk": 120},
    "pairings": [{"main": "noise(0.3)", "guide": "noise(0.6)", "coupling": "shared"}],
    "search": {"samples": 240, "method": "grid", "weight": [1.0, 2.0], "step": 0.5},
    "confirm": {"samples": 240, "seed_sets": 2, "controls": False},
}


class Net(nn.Module):
    """F of the shipped digits, as a network that knows nothing of this project."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = load_base("digits", "digits").denoiser.network

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor) -> Tensor:
        return self.inner(x, c_noise, label.masked_fill(label == 10, -1))


def wrapped() -> Any:
    return wrap(Net(), "edm", sigma_data=0.75, classes=10)


def test_a_network_of_one_s_own_is_studied_as_a_shipped_base_is(tmp_path: Path) -> None:
    """The same network by its name and in memory gives the same table."""
    mine = study.run(SPEC, base=wrapped(), data="digits", root=tmp_path / "a")
    shipped = study.run({**SPEC, "base": "digits"}, root=tmp_path / "b")
    for column in ("pairing", "weight", "verdict"):
        assert list(mine.table[column]) == list(shipped.table[column])
    for column in ("fd_base", "fd_main", "fd"):
        assert list(mine.table[column]) == pytest.approx(list(shipped.table[column]), rel=1e-4)
    assert mine.spec.base == "Net"
    again = study.read("mine", tmp_path / "a")
    assert again.trials.equals(mine.trials)


def test_it_is_resumed_and_another_network_is_noticed(tmp_path: Path) -> None:
    first = study.run(SPEC, base=wrapped(), data="digits", root=tmp_path)
    again = study.run(SPEC, base=wrapped(), data="digits", root=tmp_path)
    assert len(again.trials) == len(first.trials)
    other = wrapped()
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    with pytest.raises(InputError, match="was begun with other values"):
        study.run(SPEC, base=other, data="digits", root=tmp_path)


def test_samples_may_be_given(tmp_path: Path) -> None:
    samples = 0.6 * torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    found = study.run(SPEC, base=ExactGaussian(0.6), data=samples, root=tmp_path)
    assert found.spec.reference == "in-memory"
    # the data themselves are the reference, whose variance is 0.36
    assert float(found.table.fd_base[0]) < 0.1
    labelled = study.run(
        {**SPEC, "name": "labelled"},
        base=ExactGaussian(0.6),
        data=(samples, torch.arange(400) % 4),
        root=tmp_path,
    )
    assert labelled.results.searches


def test_a_path_is_a_spec_too(tmp_path: Path) -> None:
    from study.specs.serialisation import spec_to_yaml

    path = tmp_path / "mine.yaml"
    path.write_text(spec_to_yaml(StudySpec("of-a-file", **_small())))
    found = study.run(path, base=ExactGaussian(0.6), data=torch.randn(50, 2), root=tmp_path)
    assert found.spec.name == "of-a-file"


def _small() -> dict[str, Any]:
    from study.cli.config import spec_of_values

    spec = spec_of_values({**SPEC, "pairings": SPEC["pairings"]}, "a test")
    return {key: getattr(spec, key) for key in SPEC if key != "name"}


class Narrow(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x[..., :1]


class Failing(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        raise RuntimeError("shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("base", "data", "changes", "why"),
    [
        (
            nn.Linear(2, 2),
            torch.ones(3, 2),
            {},
            "found a base of type Linear; accepted: a Denoiser",
        ),
        (wrap(Narrow(), "x0", "sigma"), torch.ones(3, 2), {}, r"an output of shape \[2, 1\]"),
        (wrap(Failing(), "x0", "sigma"), torch.ones(3, 2), {}, "shapes cannot be multiplied"),
        (ExactGaussian(1.0), torch.ones(3), {}, r"data: accepted: .* finite floats \[N"),
        (ExactGaussian(1.0), torch.full((3, 2), torch.nan), {}, "finite floats"),
        (ExactGaussian(1.0), (torch.ones(3, 2), torch.ones(3)), {}, "labels of 3 samples"),
        (ExactGaussian(1.0), (torch.ones(3, 2), torch.arange(2)), {}, "labels of 3 samples"),
        (ExactGaussian(1.0), "nowhere", {}, "data set 'nowhere': not found"),
        (ExactGaussian(1.0), None, {"reference": "cifar10 train"}, "found no data"),
        (ExactGaussian(1.0), torch.ones(3, 2), {"reference": "held-out"}, "found held-out"),
        (ExactGaussian(1.0), torch.ones(3, 2), {"nmae": 3}, "study.run: nmae"),
        (None, torch.ones(3, 2), {}, "found data without a base"),
    ],
)
def test_what_cannot_be_studied_is_refused(
    tmp_path: Path, base: Any, data: Any, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        study.run({**SPEC, **changes}, base=base, data=data, root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_spec_is_not_changed(tmp_path: Path) -> None:
    spec = StudySpec(**{**_small(), "name": "kept"})
    before = replace(spec)
    study.run(spec, base=ExactGaussian(0.6), data=torch.randn(50, 2), root=tmp_path)
    assert spec == before
