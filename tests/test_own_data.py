"""One's own images and samples as data sets: what is accepted, how it is read, what is refused."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from degradations import InputError
from study.data import Data, DataName, Pixels, load_data
from study.files.images import batches

SIDE = 6


def images(n: int, colours: bool = True, seed: int = 0) -> npt.NDArray[np.uint8]:
    shape = (n, SIDE, SIDE, 3) if colours else (n, SIDE, SIDE)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(folder: Path, pixels: npt.NDArray[np.uint8], names: list[str]) -> Path:
    for name, image in zip(names, pixels, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


def zipped(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return out


def loaded(place: Path | str, tmp_path: Path) -> Data:
    load_data.cache_clear()
    return load_data(str(place), tmp_path / "cache")


def floats(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    channels = pixels if pixels.ndim == 4 else pixels[..., None]
    return torch.from_numpy(channels.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1


@pytest.mark.parametrize("colours", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_subfolders_are_classes(tmp_path: Path, colours: bool, packed: bool) -> None:
    pixels = images(4, colours)
    names = ["cat/a.png", "cat/b.png", "dog/a.png", "dog/deep/b.png"]
    place = write(tmp_path / "pets", pixels, names)
    place = zipped(place, tmp_path / "pets.zip") if packed else place
    data = loaded(place, tmp_path)
    assert data.name == str(place)
    assert data.shape == (3 if colours else 1, SIDE, SIDE)
    assert data.classes == 2
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(data.samples[:], floats(pixels))
    assert isinstance(data.samples, Pixels)


def test_it_reads_as_references_do(tmp_path: Path) -> None:
    place = write(tmp_path / "x", images(5), [f"{i}.png" for i in range(5)])
    torch.testing.assert_close(loaded(place, tmp_path).samples[:], next(batches(place)))


def test_a_folder_without_subfolders_has_no_classes(tmp_path: Path) -> None:
    data = loaded(write(tmp_path / "x", images(2), ["a.png", "b.png"]), tmp_path)
    assert data.labels is None
    assert data.classes == 0


@pytest.mark.parametrize("packed", [True, False])
def test_dataset_json_has_the_labels(tmp_path: Path, packed: bool) -> None:
    place = write(tmp_path / "edm", images(2), ["00000/img0.png", "00000/img1.png"])
    labels = {"labels": [["00000/img1.png", 3], ["00000/img0.png", 1]]}
    (place / "dataset.json").write_text(json.dumps(labels))
    place = zipped(place, tmp_path / "edm.zip") if packed else place
    data = loaded(place, tmp_path)
    assert data.labels is not None
    assert data.labels.tolist() == [1, 3]
    assert data.classes == 4


def test_dataset_json_may_say_that_there_are_none(tmp_path: Path) -> None:
    place = write(tmp_path / "edm", images(2), ["00000/img0.png", "00000/img1.png"])
    (place / "dataset.json").write_text('{"labels": null}')
    assert loaded(place, tmp_path).labels is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"labels": [["00000/img0.png", 1]]}', "has no label of '00000/img1.png'"),
        ('{"labels": [["00000/img0.png", 1], ["00000/img1.png", -1]]}', "integers from 0"),
        ('{"labels": [["00000/img0.png", 1], ["00000/img1.png", 0.5]]}', "integers from 0"),
        ('{"labels": 3}', r"accepted: \{\"labels\": \[\[NAME, CLASS\]"),
        ("{", "not labels in JSON"),
    ],
)
def test_labels_that_do_not_match_are_refused(tmp_path: Path, text: str, why: str) -> None:
    place = write(tmp_path / "edm", images(2), ["00000/img0.png", "00000/img1.png"])
    (place / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=f"dataset.json.*{why}"):
        loaded(place, tmp_path)


def test_npz(tmp_path: Path) -> None:
    pixels, points = images(4), np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    np.savez(tmp_path / "a.npz", samples=pixels, labels=np.array([0, 2, 1, 1]))
    np.savez(tmp_path / "b.npz", samples=points)
    data = loaded(tmp_path / "a.npz", tmp_path)
    torch.testing.assert_close(data.samples[:], floats(pixels))
    assert data.labels is not None
    assert (data.labels.tolist(), data.classes) == ([0, 2, 1, 1], 3)
    cloud = loaded(tmp_path / "b.npz", tmp_path)
    assert cloud.shape == (2,)
    torch.testing.assert_close(cloud.samples[:], torch.from_numpy(points), rtol=0, atol=0)
    np.savez(tmp_path / "c.npz", samples=pixels, labels=np.array([0, 2.5, 1, 1]))
    with pytest.raises(InputError, match="'labels': accepted: integers from 0"):
        loaded(tmp_path / "c.npz", tmp_path)
    np.savez(tmp_path / "d.npz", samples=pixels, labels=np.array([0, 2]))
    with pytest.raises(InputError, match="'labels'"):
        loaded(tmp_path / "d.npz", tmp_path)
    with pytest.raises(InputError, match="not resized"):
        loaded(f"{tmp_path / 'b.npz'}@size=4", tmp_path)


def test_images_are_cropped_in_their_centre_and_resized(tmp_path: Path) -> None:
    """A white square in the centre of a wide black image: the crop is all of the square."""
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    write(tmp_path / "x", wide[None], ["wide.png"])
    write(tmp_path / "x", np.full((1, 5, 5, 3), 255, np.uint8), ["small.png"])
    data = loaded(f"{tmp_path / 'x'}@size=4", tmp_path)
    torch.testing.assert_close(data.samples[:], torch.ones(2, 3, 4, 4))
    # in an NPZ as in files
    np.savez(tmp_path / "x.npz", samples=wide[None])
    torch.testing.assert_close(
        loaded(f"{tmp_path / 'x.npz'}@size=4", tmp_path).samples[:], torch.ones(1, 3, 4, 4)
    )


def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535], [128, 129, 300]], np.uint16)
    (tmp_path / "x").mkdir()
    Image.fromarray(deep).save(tmp_path / "x" / "a.png")
    found = (loaded(tmp_path / "x", tmp_path).samples[:] + 1) * 127.5
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 1, 255], [0, 1, 1]]))


def test_all_bad_files_are_named(tmp_path: Path) -> None:
    place = write(tmp_path / "x", images(4), [f"{i}.png" for i in range(4)])
    whole = (place / "0.png").read_bytes()
    (place / "0.png").write_bytes(whole[:-30])  # truncated
    (place / "1.png").write_text("no image")
    Image.fromarray(np.zeros((3, 9, 3), np.uint8)).save(place / "5.png")
    with pytest.raises(InputError, match="3 of 5 images cannot be used") as error:
        loaded(place, tmp_path)
    text = str(error.value)
    assert len(text.splitlines()) == 4
    for name, why in (
        ("0.png", "not a complete image"),
        ("1.png", "not a complete image of an accepted format"),
        ("5.png", "9×3, most are 6×6; '@size=N'"),
    ):
        line = next(line for line in text.splitlines() if name in line)
        assert why in line
    assert not list((tmp_path / "cache").rglob("samples.npy"))  # nothing half-written


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing/here", "not found; accepted: digits, fractal, FOLDER"),
        ("digit", "did you mean digits"),
        ("digits@size=4", "not found"),
        ("x@size=0", "found size 0; accepted: an integer from 1 to 4096"),
        ("x@size=big", "found size big"),
        ("x@colour=1", "found '@colour=1'"),
        ("x@size=4@size=5", "found '@size=5'"),
        ("x@split=train", "found split train; accepted: with torchvision: and hub: alone"),
        ("torchvision:Places", "accepted: torchvision:CIFAR10"),
        ("torchvision:MNIST@split=all", "found split all; accepted: train or test"),
    ],
)
def test_names_of_nothing(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        loaded(name, tmp_path)


def test_folders_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in it"):
        loaded(tmp_path / "empty", tmp_path)
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(InputError, match=r"accepted: a folder or zip of images, or an .npz"):
        loaded(tmp_path / "x.txt", tmp_path)
    write(tmp_path / "x", images(2), ["a/a.png", "b.png"])
    with pytest.raises(InputError, match=r"1 images lie outside of the subfolders.*b.png"):
        loaded(tmp_path / "x", tmp_path)


def test_content_identifies_a_data_set(tmp_path: Path) -> None:
    """Wherever it is; a changed file is other data, and is read anew."""
    pixels, names = images(3), ["a/0.png", "a/1.png", "b/2.png"]
    first = loaded(write(tmp_path / "x", pixels, names), tmp_path)
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    assert loaded(tmp_path / "y", tmp_path).sha256 == first.sha256
    kept = next((tmp_path / "cache").rglob("samples.npy")).stat().st_mtime_ns
    assert loaded(tmp_path / "x", tmp_path).sha256 == first.sha256
    assert kept in [p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("samples.npy")]
    write(tmp_path / "x", 255 - pixels, names)
    assert loaded(tmp_path / "x", tmp_path).sha256 != first.sha256
    (tmp_path / "y" / "a").rename(tmp_path / "y" / "c")  # the same images in other classes
    assert loaded(tmp_path / "y", tmp_path).sha256 != first.sha256


def test_what_a_killed_process_left_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path / "x", images(3), ["0.png", "1.png", "2.png"])
    with monkeypatch.context() as killed:
        killed.setattr("shutil.rmtree", lambda *args, **kwargs: None)
        killed.setattr(sys.modules["study.data.prepared"], "_digest", lambda part: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            loaded(place, tmp_path)
    assert len(list((tmp_path / "cache" / "data").rglob("samples.npy"))) == 1
    torch.testing.assert_close(loaded(place, tmp_path).samples[:], floats(images(3)))
    kept = list((tmp_path / "cache" / "data").rglob("samples.npy"))
    assert len(kept) == 1
    assert not kept[0].parent.name.startswith(".part")


def test_a_split_of_images_in_a_file(tmp_path: Path) -> None:
    pixels = images(10)
    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(10)]
    place = write(tmp_path / "x", pixels, names)
    data = loaded(place, tmp_path)
    assert data.split(1.0)[0] is data
    rest, held_out = data.split(0.6)
    assert (len(rest.samples), len(held_out.samples)) == (6, 4)
    again, _ = rest.split(0.5)
    everything = torch.cat([rest.samples[:], held_out.samples[:]])
    assert sorted(everything.flatten(1).sum(1).tolist()) == pytest.approx(
        sorted(data.samples[:].flatten(1).sum(1).tolist())
    )
    torch.testing.assert_close(again.samples[[0]], again.samples[0:1])
    assert rest.sha256 != data.sha256
    assert rest.sha256 == loaded(place, tmp_path).split(0.6)[0].sha256
    torch.testing.assert_close(torch.cat(list(rest.batches(4))), rest.samples[:])


def test_options_of_a_name() -> None:
    assert DataName.parse("a/b@size=32") == DataName("a/b", 32)
    assert DataName.parse("hub:o/n@split=train@size=8") == DataName("hub:o/n", 8, "train")
