"""clean-fid's named reference statistics, on stand-ins that the tests put into the cache: nothing
is downloaded."""

import json
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from degradations import InputError
from study.checkpoints import find_statistics, public_statistics
from study.cli.main import call
from study.evaluation.score_files import references_of
from study.metrics import load_extractor
from study.metrics.inception import INCEPTION, Inception, InceptionTF
from tests.extractor_files import StandIn, folders, make

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:Matrix is singular"
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(address: str) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr("study.files.cache._open", reject)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root whose cache holds a small network of 64 features in the place of Inception."""
    cache = tmp_path / "root" / "cache"
    cache.mkdir(parents=True)
    digest = make(cache / INCEPTION.name, StandIn())
    own = replace(INCEPTION, sha256=digest, size=(cache / INCEPTION.name).stat().st_size)
    for made in (Inception, InceptionTF):
        monkeypatch.setattr(made, "file", own)
        monkeypatch.setattr(made, "dimensions", 64)
    return tmp_path / "root"


def moments(seed: int, d: int = 64) -> dict[str, Any]:
    f = np.random.default_rng(seed).normal(size=(200, d))
    return {"mu": f.mean(0), "sigma": np.cov(f, rowvar=False)}


def test_names_are_clean_fid_s_and_so_are_files_and_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `cleanfid.features.get_reference_statistics` composes them, asked for every name, without
    a download."""
    from cleanfid import features

    asked: list[str] = []
    monkeypatch.setattr(features, "check_download_url", lambda local_folder, url: asked.append(url))
    monkeypatch.setattr(features.np, "load", lambda path: {"mu": 0, "sigma": 0})
    named = {name: found for name, found in public_statistics().items() if " " in name}
    assert len(named) == 19
    for name, found in named.items():
        dataset, split, resolution = name.split()
        for extractor, file in found.files.items():
            mode = {"inception": "clean", "inception_tf": "legacy_tensorflow"}[extractor]
            features.get_reference_statistics(dataset, int(resolution), mode=mode, split=split)
            assert file.address == asked[-1].replace("stats//", "stats/")
            assert file.name == asked[-1].rsplit("/", 1)[1]
            assert file.sha256 is None
        assert found.size == (int(resolution), int(resolution))
    assert named["lsun_church trainfull 256"].files.keys() == {"inception"}


@pytest.mark.parametrize(
    "name", ["cifar10 train", "cifar10 train 32", "cifar10:train", "CIFAR10:train:32"]
)
def test_a_name_may_be_written_in_several_ways(name: str) -> None:
    assert find_statistics(name) is public_statistics()["cifar10 train 32"]


@pytest.mark.parametrize(
    "name", ["cifar10", "ffhq trainval70k", "metfaces", "cifar10-train", "train", ""]
)
def test_what_could_be_a_folder_or_several_is_no_name(name: str) -> None:
    assert find_statistics(name) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ffhq trainfull70k", "did you mean ffhq trainval70k 256 or ffhq trainval70k 1024?"),
        ("ffhq trainval70k", "did you mean ffhq trainval70k 256 or ffhq trainval70k 1024?"),
        ("cifar10", "did you mean cifar10 train 32 or cifar10 test 32?"),
        ("cifar10 trian", "did you mean cifar10 train 32"),
        ("img215", "did you mean img512"),
        ("diggits", "did you mean digits"),
        ("zzz", "published statistics are img512, .*cat2dog test 256"),
    ],
)
def test_an_unknown_name_is_rejected_with_those_near_it(name: str, says: str) -> None:
    with pytest.raises(InputError, match=f"reference '{name}': .*{says}"):
        references_of(name, [load_extractor("pixels")], Path("none"))


def test_each_extractor_has_its_own_file(root: Path) -> None:
    """Mode clean is `inception`, legacy_tensorflow `inception_tf`; the first use's hash holds from
    then on."""
    clean, tensorflow = moments(0), moments(1)
    np.savez(root / "cache" / "cifar10_clean_train_32.npz", **clean)
    np.savez(root / "cache" / "cifar10_legacy_tensorflow_train_32.npz", **tensorflow)
    both = [load_extractor(name, root) for name in ("inception", "inception_tf")]
    found = references_of("cifar10 train", both, root)
    for name, expected in (("inception", clean), ("inception_tf", tensorflow)):
        np.testing.assert_array_equal(found[name].frechet.mean, expected["mu"])
        np.testing.assert_array_equal(found[name].frechet.covariance, expected["sigma"])
        assert found[name].size == (32, 32)
    np.savez(root / "cache" / "cifar10_clean_train_32.npz", **moments(2))
    with pytest.raises(InputError, match="that of its first use"):
        references_of("cifar10 train", both, root)
    with pytest.raises(
        InputError,
        match="found the extractor 'pixels'; statistics are published of inception and incep",
    ):
        references_of("cifar10 train", [load_extractor("pixels")], root)
    with pytest.raises(
        InputError, match="extractor 'inception_tf'; statistics are published of inception"
    ):
        references_of("lsun_church trainfull", both, root)


@pytest.mark.parametrize(
    ("extractor", "mode"), [("inception", "clean"), ("inception_tf", "legacy_tensorflow")]
)
def test_a_mode_of_clean_fid_is_the_extractor_that_has_its_statistics(
    extractor: str, mode: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Statistics by clean-fid's own code in a mode, and our score against them of other images:
    clean-fid's."""
    from cleanfid import fid

    made, real = folders(tmp_path)
    script = torch.jit.load(str(root / "cache" / INCEPTION.name)).eval()  # type: ignore[no-untyped-call]

    # as `cleanfid.inception_torchscript` calls it in either mode
    def network(x: torch.Tensor) -> torch.Tensor:
        if mode == "clean":
            return script.layers((x - 128) / 128).flatten(1)
        return script(x, return_features=True)

    quiet = {"num_workers": 0, "device": torch.device("cpu"), "verbose": False, "batch_size": 16}
    features = fid.get_folder_features(str(real), network, mode=mode, **quiet)
    path = root / "cache" / f"cifar10_{mode}_train_32.npz"
    np.savez(path, mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    theirs = fid.compute_fid(
        str(made), str(real), mode=mode, custom_feat_extractor=network, **quiet
    )
    command = [
        "score",
        str(made),
        "--reference",
        "cifar10 train",
        "--extractor",
        extractor,
        "--format",
        "json",
    ]
    assert call([*command, "--root", str(root)]) == 0
    ours = json.loads(capsys.readouterr().out)[f"fd_{extractor}"]
    assert theirs > 1e-3
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_images_of_another_size_are_rejected(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(root / "cache" / "ffhq_clean_trainval70k_256.npz", **moments(0))
    made, _ = folders(tmp_path)
    command = [
        "score",
        str(made),
        "--reference",
        "ffhq trainval70k 256",
        "--extractor",
        "inception",
    ]
    assert call([*command, "--root", str(root)]) == 2
    assert "found samples of 32×32 pixels; accepted: 256×256" in capsys.readouterr().err


def test_a_missing_file_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "score",
        "somewhere",
        "--reference",
        "cifar10:train",
        "--extractor",
        "inception",
        "--root",
        str(root),
    ]
    assert call(command) == 2
    said = capsys.readouterr().err
    for part in (
        "https://www.cs.cmu.edu/~clean-fid/stats/cifar10_clean_train_32.npz",
        str(root / "cache"),
        "put it into",
        "SHA-256 none is published",
    ):
        assert part in said


def test_a_plan_lists_them_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    path = root / "cache" / "cifar10_clean_train_32.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, mu=np.zeros(2048), sigma=np.eye(2048))

    def plan(statistics: str, extractors: str) -> int:
        command = [
            "run",
            "configs/digits.yaml",
            "--base",
            "edm-cifar10-32x32-uncond-vp",
            "--plan",
            "--root",
            str(root),
        ]
        return call([*command, "--reference", statistics, "--extractors", extractors])

    assert plan("cifar10 train", "[inception, inception_tf]") == 0
    said = capsys.readouterr().out
    assert f"present  clean-fid's statistics cifar10 train 32, mode clean: {path}" in said
    other = path.with_name("cifar10_legacy_tensorflow_train_32.npz")
    assert (
        f"missing  clean-fid's statistics cifar10 train 32, mode legacy_tensorflow: {other}" in said
    )
    assert plan("cifar10 train", "[digits]") == 2
    assert "found the extractor 'digits'; statistics are published of" in capsys.readouterr().err
    assert plan("cifar10 trian", "[inception]") == 2
    assert "did you mean cifar10 train 32" in capsys.readouterr().err
