"""Extractors that are TorchScripts: features against clean-fid, cards, and what is rejected."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from degradations import InputError
from study.files.images import batches, write_png
from study.metrics import Extractor, Tally, extractors, files_of, load_extractor, scores
from study.metrics.images import Images
from study.metrics.inception import INCEPTION, Inception, InceptionTF, load_script
from study.metrics.reference import stream_references
from study.metrics.resize import clean_resize
from tests.extractor_files import BYTES, Layers, StandIn, cards, folders, make

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:Matrix is singular"
)


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., str]:
    return cards(tmp_path)


@pytest.mark.parametrize(
    "size", [(8, 8), (32, 64), (64, 64), (299, 299), (300, 40), (299, 512), (512, 512)]
)
def test_resizing_is_clean_fid_s(size: tuple[int, int]) -> None:
    from cleanfid.resize import make_resizer

    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    image[:2] = 255 * (image[:2] > 127)  # overshoots, which are clipped
    theirs = make_resizer("PIL", False, "bicubic", (299, 299))(image)
    ours = (
        clean_resize(torch.from_numpy(image)[None].permute(0, 3, 1, 2).float())[0]
        .permute(1, 2, 0)
        .numpy()
    )
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize("size", [(8, 8), (32, 64), (64, 64), (299, 299), (512, 300)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_features_are_clean_fid_s(size: tuple[int, int], mode: str, tmp_path: Path) -> None:
    """Its own reading, resizing and class of Inception, with the same weights: the features to
    float32's rounding."""
    from cleanfid import fid
    from cleanfid.inception_torchscript import InceptionV3W

    digest = make(tmp_path / INCEPTION.name, StandIn(2048))
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (3, *size, 1 if mode == "L" else 3), dtype=np.uint8)
    for index, image in enumerate(images):
        write_png(tmp_path / "images" / f"{index}.png", image)
    network = InceptionV3W(str(tmp_path), download=False)
    theirs = fid.get_folder_features(
        str(tmp_path / "images"),
        network,
        num_workers=0,
        device=torch.device("cpu"),
        mode="clean",
        verbose=False,
    )
    extractor = Images("x", digest, load_script(tmp_path / INCEPTION.name, digest, "clean"))
    ours = extractor(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    assert ours.shape == theirs.shape == (3, 2048)
    error = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    assert error.max() < 1e-5  # 6e-5 of 128, and some tens of roundings of 6e-8


def distance(a: Path, b: Path, extractor: Extractor) -> float:
    tally, first = Tally([extractor]), 0
    for batch in batches(a, 16):
        tally.fold(batch, first)
        first += len(batch)
    return scores(tally, stream_references(batches(b, 16), [extractor]))[f"fd_{extractor.name}"]


def test_the_distance_of_two_folders_is_clean_fid_s(
    card: Callable[..., str], tmp_path: Path
) -> None:
    from cleanfid import fid

    a, b = folders(tmp_path)
    script = torch.jit.load(str(tmp_path / "net.pt")).eval()  # type: ignore[no-untyped-call]
    their_own = {
        "num_workers": 0,
        "device": torch.device("cpu"),
        "verbose": False,
        "batch_size": 16,
    }
    for mode, model in (
        ("clean", lambda x: script.layers((x - 128) / 128).view(len(x), 64)),
        ("legacy_tensorflow", lambda x: script(x, return_features=True)),
    ):
        theirs = fid.compute_fid(
            str(a), str(b), mode=mode, custom_feat_extractor=model, **their_own
        )
        ours = distance(a, b, load_extractor(card(mode="clean" if mode == "clean" else "tf")))
        assert theirs > 1e-3
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_edm_s_zips_are_folders(card: Callable[..., str], tmp_path: Path) -> None:
    a, b = folders(tmp_path)
    files = sorted(b.rglob("*.png"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for index, file in reversed(list(enumerate(files))):
            archive.write(file, f"{index // 30:05}/img{index:08}.png")
        archive.writestr("dataset.json", '{"labels": null}')
    assert torch.equal(torch.cat(list(batches(tmp_path / "b.zip", 7))), torch.cat(list(batches(b))))
    extractor = load_extractor(card())
    assert distance(a, tmp_path / "b.zip", extractor) == distance(a, b, extractor)
    with zipfile.ZipFile(tmp_path / "b.zip", "a") as archive:
        archive.writestr("00000/img-latents-00000000.npy", b"")
    with pytest.raises(
        InputError, match=r"img-latents-00000000\.npy: found an array, such as EDM2's latents"
    ):
        list(batches(tmp_path / "b.zip"))


def test_a_card_of_one_s_own(card: Callable[..., str], tmp_path: Path) -> None:
    x = torch.from_numpy(BYTES[:3]).permute(0, 3, 1, 2)
    clean, tf = (load_extractor(card(mode=mode)) for mode in ("clean", "tf"))
    script = torch.jit.load(str(tmp_path / "net.pt")).eval()  # type: ignore[no-untyped-call]
    assert clean.name == "mine"
    assert clean.sha256 != tf.sha256  # their statistics are not to be taken for each other's
    torch.testing.assert_close(tf(x), script(x.float(), return_features=True))
    expected = script.layers((clean_resize(x.float()) - 128) / 128).flatten(1)
    torch.testing.assert_close(clean(x), expected)
    torch.testing.assert_close(clean(x.float() / 127.5 - 1), expected)
    torch.testing.assert_close(clean(x[:, :1]), clean(x[:, :1].repeat(1, 3, 1, 1)))
    assert not any(parameter.requires_grad for parameter in clean.parameters())
    assert files_of(card()) == []


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"sha256": "0" * 64}, "SHA-256 .*, since it is a program"),
        ({"file": "none.pt"}, "none.pt: no such file"),
        ({"name": "inception"}, "other than the name of a known extractor"),
        ({"name": "dinov2"}, "other than the name of a known extractor"),
        ({"name": "pixels"}, "other than the name of a known extractor"),
        ({"name": "Mine!"}, "small letters"),
        ({"mode": "dirty"}, "accepted: clean or tf"),
        ({"kind": "denoiser"}, '"kind": "extractor"'),
        ({"sha256": 3}, "all of them text"),
        ({"file": None}, "all of them text"),
        ({"dims": 3}, "all of them text"),
    ],
)
def test_other_cards_are_rejected_and_nothing_is_run(
    card: Callable[..., str], monkeypatch: Any, entries: dict[str, Any], says: str
) -> None:
    path, run = card(**entries), []
    monkeypatch.setattr(torch.jit, "load", lambda *args, **kwargs: run.append(args))
    with pytest.raises(InputError, match=says):
        load_extractor(path)
    assert run == []


def test_what_is_no_script_is_rejected(card: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("x")
    with pytest.raises(InputError, match="a TorchScript"):
        load_extractor(card(file="text.pt", sha256=hashlib.sha256(b"x").hexdigest()))
    digest = make(tmp_path / "bare.pt", Layers())
    with pytest.raises(InputError, match="a TorchScript without a submodule"):
        load_extractor(card(file="bare.pt", sha256=digest))
    with pytest.raises(InputError, match="no such file"):
        load_extractor(str(tmp_path / "none.json"))


def test_public_names_are_only_the_published_files(
    card: Callable[..., str], monkeypatch: Any, tmp_path: Path
) -> None:
    public = {name for name, each in extractors().items() if each.file is not None}
    assert public == {"inception", "inception_tf", "dinov2"}
    assert [files_of(name) for name in ("inception", "inception_tf", "pixels")] == [
        [INCEPTION],
        [INCEPTION],
        [],
    ]
    with pytest.raises(InputError, match="accepted:"):
        files_of("fid")
    card()
    (tmp_path / "cache").mkdir()
    content = (tmp_path / "net.pt").read_bytes()
    kept = tmp_path / "cache" / INCEPTION.name
    kept.write_bytes(content)
    with pytest.raises(InputError, match="Inception-v3"):
        load_extractor("inception", tmp_path)
    own = replace(INCEPTION, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    for made in (Inception, InceptionTF):
        monkeypatch.setattr(made, "file", own)
    x = torch.from_numpy(BYTES[:2]).permute(0, 3, 1, 2)
    for name, mode in (("inception", "clean"), ("inception_tf", "tf")):
        found = load_extractor(name, tmp_path)
        assert (found.name, found.sha256) == (name, own.sha256)
        assert torch.equal(found(x), load_extractor(card(mode=mode))(x))
    # A note that vouches for other bytes is not enough: it is the bytes that are run that count.
    stat = kept.stat()
    kept.write_bytes(content[:-1] + b"x")
    note = {"sha256": own.sha256, "size": stat.st_size, "mtime_ns": kept.stat().st_mtime_ns}
    kept.with_name(kept.name + ".sha256").write_text(json.dumps(note))
    with pytest.raises(InputError, match="it is a program"):
        load_extractor("inception", tmp_path)


def test_clean_fid_is_imported_only_where_it_is_called() -> None:
    import subprocess
    import sys

    code = (
        "import sys, study.metrics.clean_fid; assert not {'cleanfid', 'torchvision'} & "
        "set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scripts_of_bytes_are_read_from_memory(card: Callable[..., str], monkeypatch: Any) -> None:
    """What is run is what was hashed, not what may lie in the file a moment later."""
    seen: list[Any] = []
    load = torch.jit.load
    monkeypatch.setattr(
        torch.jit, "load", lambda file, **kwargs: seen.append(file) or load(file, **kwargs)
    )
    load_extractor(card())
    assert isinstance(seen[0], io.BytesIO)
