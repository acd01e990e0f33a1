"""Scores computed again by clean-fid itself, with a small network that its owner's card vouches
for."""

import json
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from degradations import InputError, RunError
from study.cli.main import call
from study.metrics import FrechetReference, Moments, Reference, load_extractor, references
from study.metrics.clean_fid import FEATURES, rounding, verify
from tests.extractor_files import BYTES, StandIn, cards, folders

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:Matrix is singular"
)

Card = Callable[..., str]


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return cards(tmp_path)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, empty."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def score(
    capsys: pytest.CaptureFixture[str], path: Path, against: Path, mine: str, *flags: str
) -> Any:
    command = [
        "score",
        str(path),
        "--reference",
        str(against),
        "--extractor",
        mine,
        "--verify",
        *flags,
    ]
    assert call([*command, "--root", str(path.parent / "root")]) == 0
    return capsys.readouterr()


@pytest.mark.parametrize("form", ["folder", "npz", "grey npz", "floats"])
def test_a_score_is_computed_again(
    form: str, card: Card, tmp_path: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, real = folders(tmp_path)
    if form != "folder":
        images = BYTES[..., 0] if form == "grey npz" else BYTES
        # which are clipped
        floats = images.transpose(0, 3, 1, 2) / 100.0 - 1.3 if form == "floats" else images
        path = tmp_path / "x.npz"
        np.savez(path, floats)
    found = json.loads(score(capsys, path, real, card(), "--format", "json").out)
    assert found["samples"] == 40
    assert found["fd_mine_clean_fid"] == pytest.approx(
        found["fd_mine"], abs=found["fd_mine_tolerance"]
    )
    assert found["fd_mine_difference"] == abs(found["fd_mine"] - found["fd_mine_clean_fid"])
    assert 0 < found["fd_mine_tolerance"] < 2e-3 * found["fd_mine"]
    said = score(capsys, path, real, card()).out
    assert re.search(
        r"^fd_mine [\d.]+, clean-fid [\d.]+ \(difference [\de.-]+, within the [\de.-]+ of",
        said,
        re.M,
    )
    assert not list(temporary.glob("clean-fid*"))


def test_a_difference_beyond_rounding_is_warned_of(
    card: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of another resizing, PyTorch's bilinear."""

    def bilinear(images: Tensor) -> Tensor:
        return nn.functional.interpolate(images, (299, 299), mode="bilinear")

    monkeypatch.setattr("study.metrics.inception.clean_resize", bilinear)
    made, real = folders(tmp_path)
    said = score(capsys, made, real, card()).out
    assert re.search(
        r"\(difference [\de.-]+\) WARNING: rounding explains [\de.-]+ only; the two do not agree",
        said,
    )


def test_nothing_of_clean_fid_s_own_is_read_or_written(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cleanfid import downloads_helper, features, inception_torchscript

    def download(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is to be downloaded")

    for module in (downloads_helper, inception_torchscript):
        monkeypatch.setattr(module, "check_download_inception", download)
    monkeypatch.setattr(features, "check_download_url", download)
    made, real = folders(tmp_path)
    assert "clean-fid" in score(capsys, made, real, card()).out


def test_only_the_vouched_for_program_is_run(card: Card, tmp_path: Path) -> None:
    """Also where the file changes after the extractor was loaded."""
    extractor = load_extractor(card()).eval()
    x = torch.from_numpy(BYTES).permute(0, 3, 1, 2)
    compared = references(x, [extractor])["mine"]
    (tmp_path / "net.pt").write_bytes(b"another program")
    with pytest.raises(InputError, match="it is a program"):
        verify([BYTES], extractor, compared, 0.0, torch.device("cpu"))


def test_a_network_of_2048_features_is_run_by_clean_fid_s_own_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the moments: its matrix root takes half a minute at that size."""
    from cleanfid import fid
    from cleanfid.inception_torchscript import InceptionV3W

    called: list[int] = []
    means: list[np.ndarray] = []
    forward = InceptionV3W.forward
    monkeypatch.setattr(
        InceptionV3W, "forward", lambda self, x: called.append(len(x)) or forward(self, x)
    )
    monkeypatch.setattr(fid, "frechet_distance", lambda mean, *_: means.append(mean) or 0.0)
    extractor = load_extractor(cards(tmp_path, StandIn(2048))()).eval()
    reference = Reference("mine", "", 2, FrechetReference(np.zeros(2048), np.eye(2048)), None)
    verify([BYTES[:7], BYTES[7:20]], extractor, reference, 0.0, torch.device("cpu"))
    assert called == [7, 13]
    ours = extractor(torch.from_numpy(BYTES[:20]).permute(0, 3, 1, 2)).mean(0).numpy()
    assert np.linalg.norm(means[0] - ours) < FEATURES * np.linalg.norm(ours)


@pytest.mark.parametrize("name", ["pixels", "digits", "tf"])
def test_other_extractors_are_rejected_at_once(
    name: str, card: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extractor = card(mode="tf") if name == "tf" else name
    command = [
        "score",
        str(tmp_path / "none"),
        "--reference",
        "digits",
        "--extractor",
        extractor,
        "--verify",
    ]
    assert call([*command, "--root", str(tmp_path / "root")]) == 2
    assert re.search(
        r"--verify: clean-fid cannot run (mine|pixels|digits); accepted:", capsys.readouterr().err
    )


def test_what_clean_fid_finds_no_root_of_fails(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    from cleanfid import fid

    def fail(*_: Any) -> float:
        raise ValueError("Imaginary component 1.0")

    monkeypatch.setattr(fid, "frechet_distance", fail)
    extractor = load_extractor(card()).eval()
    compared = references(torch.from_numpy(BYTES).permute(0, 3, 1, 2), [extractor])["mine"]
    with pytest.raises(RunError, match=r"clean-fid: found no root .*Imaginary component"):
        verify([BYTES], extractor, compared, 0.0, torch.device("cpu"))


@pytest.mark.parametrize("distance", [0.0, 0.1, 3.0])
def test_features_within_their_rounding_move_the_distance_within_its_own(distance: float) -> None:
    """Every feature vector moved by FEATURES of its norm, all outwards: the worst that the bound
    allows for."""
    rng = np.random.default_rng(0)
    f, g = rng.normal(1, 1, (200, 30)), rng.normal(1, 1, (300, 30)) + distance / math.sqrt(30)
    reference = FrechetReference(g.mean(0), np.cov(g, rowvar=False))

    def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = Moments.zeros(30)
        found.fold(torch.from_numpy(features))
        return found.mean, found.covariance

    exact = reference.distance(*moments(f))
    for moved in (f * (1 + FEATURES), f * (1 - FEATURES)):
        bound = rounding(exact, len(f), *moments(f), reference.covariance)
        assert 0 < abs(reference.distance(*moments(moved)) - exact) < bound


PAIRINGS = "[{main: noise(0.2), guide: noise(0.4)}, {main: none, guide: noise(0.4)}]"
SMALL = [
    "run",
    "tests/small.yaml",
    "--pairings",
    PAIRINGS,
    "--search.samples",
    "20",
    "--search.trials",
    "2",
    "--search.design",
    "[1.0, 2.0]",
    "--confirm.samples",
    "20",
    "--confirm.seed_sets",
    "2",
    "--confirm.controls",
    "false",
]


def test_a_study_is_computed_again(
    card: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its second metric, for the first is none of clean-fid's: the score that the study keeps,
    and clean-fid's."""
    from study.search.collect import collect

    command = [*SMALL, "--extractors", f"[pixels, {card()}]", "--root", str(tmp_path / "root")]
    assert call([*command, "--verify"]) == 0
    said = capsys.readouterr().out
    line = (
        r"^  (.+), w ([\d.]+), seed 1: fd_mine ([\d.e-]+), clean-fid [\d.e-]+ \(difference .*, "
        r"within .* of rounding\)$"
    )
    found = re.findall(line, said, re.MULTILINE)
    results = collect(tmp_path / "root", "small")
    assert [name for name, *_ in found] == [pairing.name for pairing in results.spec.pairings]
    for (_, weight, ours), pairing in zip(found, results.spec.pairings, strict=True):
        tested = results.tested(pairing, "fd_mine")[0]
        assert float(weight) == tested.weight != 1
        kept = results.shared[results.confirmed(tested)[0]].scores["fd_mine"]
        assert float(ours) == pytest.approx(kept, rel=1e-5)  # to the digits that are shown


def test_a_study_that_clean_fid_has_nothing_of_is_rejected_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([*SMALL, "--verify", "--root", str(tmp_path / "root")]) == 2
    assert (
        "--verify: clean-fid cannot run digits, pixels; accepted: inception"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "root").exists()


@pytest.mark.slow
def test_the_rounding_of_features_is_that_of_inception() -> None:
    """Random weights, and statistics of the activations such that none vanishes: a network that
    damps no error."""
    import copy

    from cleanfid.resize import build_resizer
    from torchvision.models import inception_v3

    from study.metrics.resize import clean_resize

    rng = np.random.default_rng(0)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = inception_v3(weights=None, init_weights=True, transform_input=False)
        network.fc, network.dropout, network.aux_logits = nn.Identity(), nn.Identity(), False
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        coarse = torch.from_numpy(rng.uniform(0, 255, (16, 3, 6, 6))).float()
        images = nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 255).byte()
        network.train()
        network((clean_resize(images) - 128) / 128)
        network.eval()
        resize = build_resizer("clean")
        theirs = torch.stack(
            [torch.from_numpy(resize(image)) for image in images[:4].permute(0, 2, 3, 1).numpy()]
        )
        inputs = [(x - 128) / 128 for x in (clean_resize(images[:4]), theirs.permute(0, 3, 1, 2))]
        exact = copy.deepcopy(network).double()(inputs[1].double())
        features = [network(x).double() for x in inputs]
    for a, b in ((features[0], features[1]), (features[0], exact), (features[1], exact)):
        assert float(((a - b).norm(dim=1) / exact.norm(dim=1)).max()) < FEATURES
