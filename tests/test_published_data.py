"""Data sets of torchvision and of the hub, from files and from what stands for their libraries."""

import gzip
import struct
import sys
import types
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from degradations import InputError
from study.data import is_here
from tests.test_own_data import floats, images, loaded, write


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """A file of MNIST's format."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes())


def test_torchvision_s_files_are_found_as_they_are_published(tmp_path: Path) -> None:
    raw = tmp_path / "cache" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 9], np.uint8)
    for part, rows in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pixels[rows]))
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels[rows]))
    assert is_here("torchvision:FashionMNIST", tmp_path / "cache")
    assert not is_here("torchvision:MNIST", tmp_path / "cache")
    data = loaded("torchvision:FashionMNIST", tmp_path)
    torch.testing.assert_close(data.samples[:], floats(pixels))
    assert data.labels is not None
    assert (data.labels.tolist(), data.classes) == (labels.tolist(), 10)
    test = loaded("torchvision:FashionMNIST@split=test@size=14", tmp_path)
    assert (test.samples.shape, len(test.samples)) == (torch.Size([2, 1, 14, 14]), 2)


def test_where_to_put_what_cannot_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    def offline(self: MNIST) -> None:
        raise OSError("no network")

    monkeypatch.setattr(MNIST, "download", offline)
    with pytest.raises(InputError, match=r"could not be downloaded.*put its files into .*cache"):
        loaded("torchvision:MNIST", tmp_path)


def test_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library's objects as they are: features by column, rows by number, columns by name."""

    class Part:
        features = types.SimpleNamespace

        def __init__(self, split: str, pixels: npt.NDArray[np.uint8], labels: list[int]) -> None:
            image, label = type("Image", (), {})(), type("ClassLabel", (), {"names": ["a", "b"]})()
            self.split, self.pixels, self.labels = split, pixels, labels
            self.features = {"picture": image, "kind": label}  # type: ignore[assignment]

        def __len__(self) -> int:
            return len(self.pixels)

        def __getitem__(self, key: int | str) -> object:
            if key == "kind":
                return self.labels
            assert isinstance(key, int)
            return {"picture": Image.fromarray(self.pixels[key]), "kind": self.labels[key]}

    pixels = images(5)
    parts = {
        "train": Part("train", pixels[:3], [0, 1, 0]),
        "test": Part("test", pixels[3:], [1, 1]),
    }

    def load_dataset(place: str, split: str | None, cache_dir: str) -> object:
        assert place == "org/name"
        return parts if split is None else parts[split]

    library = types.ModuleType("datasets")
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    data = loaded("hub:org/name", tmp_path)
    torch.testing.assert_close(data.samples[:], floats(pixels))
    assert data.labels is not None
    assert (data.labels.tolist(), data.classes) == ([0, 1, 0, 1, 1], 2)
    assert len(loaded("hub:org/name@split=test", tmp_path).samples) == 2
    with pytest.raises(InputError, match="could not be loaded"):
        loaded("hub:org/name@split=other", tmp_path)
    parts["test"].labels = [-1, -1]
    with pytest.raises(InputError, match="some images have no class"):
        loaded("hub:org/name@size=3", tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="the package datasets is not installed"):
        loaded("hub:org/other", tmp_path)


def test_the_hub_s_library_reads_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Itself, on files, which it takes in the place of a name."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pixels = images(6)
    names = [f"{'train' if i < 4 else 'test'}/{'ab'[i % 2]}/{i}.png" for i in range(6)]
    place = write(tmp_path / "x", pixels, names)
    data = loaded(f"hub:{place}", tmp_path)
    order = [0, 2, 1, 3, 4, 5]  # by class within a split
    torch.testing.assert_close(data.samples[:], floats(pixels[order]))
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1, 1, 0, 1]
    assert len(loaded(f"hub:{place}@split=test", tmp_path).samples) == 2
    with pytest.raises(InputError, match=r"could not be loaded.*Unknown split"):
        loaded(f"hub:{place}@split=other", tmp_path)
