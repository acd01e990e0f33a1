import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from degradations import InputError
from study.files.atomic import replacing, write_text
from study.files.images import batches, to_uint8, write_npz, write_png


def images(n: int = 5, channels: int = 1) -> torch.Tensor:
    return torch.rand(n, channels, 6, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


def read(path: Path, size: int = 2) -> torch.Tensor:
    return torch.cat(list(batches(path, size)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, image in enumerate(to_uint8(images())):
        write_png(tmp_path / "in" / f"{index}.png", image)
    return tmp_path / "in"


def test_a_folder_comes_back_to_the_last_bit_but_one(folder: Path) -> None:
    assert read(folder).shape == (5, 1, 6, 4)
    torch.testing.assert_close(read(folder), images(), atol=1.01 / 127.5, rtol=0)
    assert np.array_equal(to_uint8(read(folder)), to_uint8(images()))


def test_a_zip_is_its_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert torch.equal(read(tmp_path / "z.zip"), read(folder))


def test_npz_of_floats_and_of_bytes(tmp_path: Path) -> None:
    write_npz(tmp_path / "f.npz", images())
    assert torch.equal(read(tmp_path / "f.npz"), images())
    np.savez(tmp_path / "u.npz", images=to_uint8(images(3, 3)))
    assert read(tmp_path / "u.npz").shape == (3, 3, 6, 4)
    np.savez(tmp_path / "g.npz", to_uint8(images())[..., 0])
    assert read(tmp_path / "g.npz").shape == (5, 1, 6, 4)


def png(mode: str = "L", size: tuple[int, int] = (4, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("9.png", png(size=(5, 6)), r"9.png: 5×6 grey, but .*0.png is 4×6 grey"),
        ("9.png", png()[:40], "9.png: not a complete image"),
        ("9.jpg", b"text", "9.jpg: not a complete image"),
        ("9.png", b"", "not a complete image"),
    ],
)
def test_a_bad_image_is_named(folder: Path, name: str, content: bytes, says: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read(folder)


def test_a_bad_place_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    np.savez(tmp_path / "objects.npz", samples=np.array([{}, {}], dtype=object))
    np.savez(tmp_path / "nan.npz", samples=np.full((3, 2), np.nan))
    np.savez(tmp_path / "ints.npz", samples=np.ones((3, 2), dtype=int))
    np.savez(tmp_path / "other.npz", y=np.ones(3))
    rejected = {
        "empty": "no images",
        "none": "no such",
        "text.txt": "found another file",
        "broken.npz": "not a complete",
        "objects.npz": "of the type object; accepted: floats and integers",
        "nan.npz": "not finite",
        "ints.npz": "int64",
        "other.npz": "accepted: one of samples",
    }
    for name, says in rejected.items():
        with pytest.raises(InputError, match=says):
            read(tmp_path / name)


def test_a_huge_image_is_rejected_before_it_is_decoded(folder: Path) -> None:
    (folder / "9.png").write_bytes(png("1", (30_000, 30_000)))
    with pytest.raises(InputError, match=r"9\.png"):
        read(folder)


def test_a_zip_bomb_is_rejected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(4096 * 4096 * 3 + 2**20 + 1))
    with pytest.raises(InputError, match="unpacks to 51380225 bytes; at most 51380224"):
        read(tmp_path / "z.zip")


def test_a_write_that_fails_leaves_what_was(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with replacing(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
