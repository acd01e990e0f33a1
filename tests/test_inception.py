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
from PIL import Image
from torch import Tensor, nn

from degradations import InputError, RunError
from study.files.images import batches, to_uint8, write_png
from study.metrics import Tally, extractors, load_extractor, scores
from study.metrics.extractors import EXTRACTORS, PUBLIC, Images, files_of
from study.metrics.inception import INCEPTION, load_script
from study.metrics.reference import stream_references
from study.metrics.resize import clean_resize

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:Matrix is singular"
)

BYTES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


class Layers(nn.Module):
    """A network of images [B, 3, 299, 299], normalised, with 64 features [B, 64, 1, 1], or another
    number of them."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 16, 9, 8), nn.Conv2d(16, features, 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).relu()).relu().mean([2, 3], True)


class StandIn(nn.Module):
    """What NVIDIA's script has: `layers`, and a forward that resizes for itself and gives features
    if asked to."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.layers = Layers(features)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        x = torch.nn.functional.interpolate(
            img, size=[299, 299], mode="bilinear", align_corners=True
        )
        features = self.layers((x - 128) / 128).flatten(1)
        return features if return_features else features[:, :5]


def make(path: Path, module: nn.Module) -> str:
    """Writes a TorchScript and gives its SHA-256."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.2)
    torch.jit.script(module).save(str(path))  # type: ignore[no-untyped-call]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cards(folder: Path, network: nn.Module | None = None) -> Callable[..., str]:
    """What writes the card of a network into a folder, with some entries otherwise, and gives its
    path."""
    digest = make(folder / "net.pt", network or StandIn())

    def write(name: str = "mine", **entries: Any) -> str:
        path = folder / f"{name}.json"
        content = {
            "kind": "extractor",
            "file": "net.pt",
            "sha256": digest,
            "mode": "clean",
        } | entries
        path.write_text(
            json.dumps({key: value for key, value in content.items() if value is not None})
        )
        return str(path)

    return write


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., str]:
    return cards(tmp_path)


class Means(nn.Module):
    """What comes to a network: the mean of each channel, [b, 3]; it remembers the images."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images.mean([2, 3])


class TestImages:
    def test_all_256_values_come_back_from_floats(self, tmp_path: Path) -> None:
        values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
        network = Means()
        Images("means", "", network)(values.float() / 127.5 - 1)
        assert torch.equal(network.seen[0], values.float().expand(1, 3, 16, 16))
        np.savez(tmp_path / "x.npz", values.view(1, 16, 16).numpy())  # through a file as well
        (read,) = batches(tmp_path / "x.npz")
        assert np.array_equal(to_uint8(read)[..., 0], values.view(1, 16, 16).numpy())

    def test_floats_are_clipped_and_truncated(self) -> None:
        network = Means()
        Images("means", "", network)(
            torch.tensor([-9.0, -1.0, 0.0, 0.0039, 0.9999, 1.0, 9.0]).view(7, 1, 1, 1)
        )
        assert network.seen[0][:, 0, 0, 0].tolist() == [0, 0, 128, 128, 255, 255, 255]

    def test_a_few_at_a_time(self) -> None:
        network, x = Means(), torch.from_numpy(BYTES).permute(0, 3, 1, 2)
        found = Images("means", "", network)(x)
        assert [len(images) for images in network.seen] == [16, 16, 8]
        torch.testing.assert_close(found, x.float().mean([2, 3]))

    def test_an_image_that_is_not_finite_fails(self) -> None:
        x = torch.zeros(3, 1, 4, 4)
        x[1, 0, 2, 2] = torch.nan
        found = Images("means", "", Means())(x)
        assert found.isfinite().all(1).tolist() == [True, False, True]
        with pytest.raises(RunError, match="1 of 3"):
            Tally([Images("means", "", Means())]).fold(x, 0)

    @pytest.mark.parametrize(
        "x", [torch.zeros(2, 4, 8, 8), torch.zeros(2, 8), torch.zeros(2, 3, 8, 8, dtype=torch.int)]
    )
    def test_what_is_no_image_is_refused(self, x: Tensor) -> None:
        with pytest.raises(InputError, match="'means' takes images"):
            Images("means", "", Means())(x)


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


def folders(where: Path) -> tuple[Path, Path]:
    """Two folders of 40 images each, smooth and not."""
    rng = np.random.default_rng(0)
    for name, small in (("a", 4), ("b", 8)):
        (where / name / "in").mkdir(parents=True)
        for index in range(40):
            image = Image.fromarray(rng.integers(0, 256, (small, small, 3), dtype=np.uint8)).resize(
                (32, 32)
            )
            image.save(where / name / "in" / f"{index:03}.png")
    return where / "a", where / "b"


def distance(a: Path, b: Path, extractor: extractors.Extractor) -> float:
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
        InputError, match=r"img-latents-00000000\.npy: an array such as EDM2's latents"
    ):
        list(batches(tmp_path / "b.zip"))


def test_batches_of_large_images_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from study.files import images

    monkeypatch.setattr(images, "MOST_TOGETHER", 3 * BYTES[0].nbytes)
    for index, image in enumerate(BYTES):
        Image.fromarray(image).save(tmp_path / f"{index:02}.png")
    found = list(batches(tmp_path))
    assert [len(batch) for batch in found] == [3] * 13 + [1]
    # decoded by several threads, and in order
    assert np.array_equal(to_uint8(torch.cat(found)), BYTES)
    np.savez(tmp_path / "x.npz", BYTES)
    assert [len(batch) for batch in batches(tmp_path / "x.npz")] == [3] * 13 + [1]


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
        ({"sha256": "0" * 64}, "SHA-256 .* is wanted: it is a program"),
        ({"file": "none.pt"}, "none.pt: no such file"),
        ({"name": "inception"}, "no known extractor's"),
        ({"name": "dinov2"}, "no known extractor's"),
        ({"name": "pixels"}, "no known extractor's"),
        ({"name": "Mine!"}, "small letters"),
        ({"mode": "dirty"}, "clean or tf is wanted"),
        ({"kind": "denoiser"}, '"kind": "extractor"'),
        ({"sha256": 3}, "all of them text"),
        ({"file": None}, "all of them text"),
        ({"dims": 3}, "all of them text"),
    ],
)
def test_other_cards_are_refused_and_nothing_is_run(
    card: Callable[..., str], monkeypatch: Any, entries: dict[str, Any], says: str
) -> None:
    path, run = card(**entries), []
    monkeypatch.setattr(torch.jit, "load", lambda *args, **kwargs: run.append(args))
    with pytest.raises(InputError, match=says):
        load_extractor(path)
    assert run == []


def test_what_is_no_script_is_refused(card: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("x")
    with pytest.raises(InputError, match="not a TorchScript"):
        load_extractor(card(file="text.pt", sha256=hashlib.sha256(b"x").hexdigest()))
    digest = make(tmp_path / "bare.pt", Layers())
    with pytest.raises(InputError, match="a TorchScript without a submodule"):
        load_extractor(card(file="bare.pt", sha256=digest))
    with pytest.raises(InputError, match="no such file"):
        load_extractor(str(tmp_path / "none.json"))


def test_public_names_are_only_the_published_files(
    card: Callable[..., str], monkeypatch: Any, tmp_path: Path
) -> None:
    assert PUBLIC.keys() == {"inception", "inception_tf", "dinov2"}
    assert not PUBLIC.keys() & EXTRACTORS.keys()
    assert [files_of(name) for name in ("inception", "inception_tf", "pixels")] == [
        [INCEPTION],
        [INCEPTION],
        [],
    ]
    with pytest.raises(InputError, match="known are"):
        files_of("fid")
    card()
    (tmp_path / "cache").mkdir()
    content = (tmp_path / "net.pt").read_bytes()
    kept = tmp_path / "cache" / INCEPTION.name
    kept.write_bytes(content)
    with pytest.raises(InputError, match="Inception-v3"):
        load_extractor("inception", tmp_path)
    own = replace(INCEPTION, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    monkeypatch.setattr(extractors, "PUBLIC", dict.fromkeys(("inception", "inception_tf"), own))
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
