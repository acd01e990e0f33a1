"""Images of every mode and format that clean-fid reads, as it reads them; and what else Pillow
would open."""

import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cleanfid.utils import ResizeDataset
from PIL import Image

from degradations import InputError
from study.files import image_files
from study.files.image_files import FORMATS, SUFFIXES
from study.files.images import batches, to_uint8

RNG = np.random.default_rng(0)
SHADES = Image.fromarray(RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8))
ALPHA = Image.fromarray(RNG.integers(0, 256, (6, 5), dtype=np.uint8))
DEEP = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)


def made(mode: str) -> Image.Image:
    """A small image with all that its mode can hold, alpha and all 16 bits included."""
    match mode:
        case "I;16":
            return Image.fromarray(DEEP)
        case "I":
            return Image.fromarray(DEEP.astype(np.int32) - 1000)
        case "F":
            return Image.fromarray(DEEP.astype(np.float32) / 150 - 100)
        case "LA" | "RGBA" | "PA":
            image = SHADES.convert("P" if mode == "PA" else mode[:-1]).convert(mode)
            image.putalpha(ALPHA)
            return image
    return SHADES.convert(mode)


# mode, suffix, options of saving, channels
CASES: list[tuple[str, str, dict[str, Any], int]] = [
    *((mode, ".png", {}, 1) for mode in ("1", "L", "LA", "I;16")),
    *((mode, ".png", {}, 3) for mode in ("P", "RGB", "RGBA")),
    ("P", ".png", {"transparency": bytes(range(0, 250, 25))}, 3),
    ("P", ".png", {"transparency": 3}, 3),
    ("RGB", ".png", {"transparency": (1, 2, 3)}, 3),
    ("L", ".png", {"transparency": 7}, 1),
    ("L", ".jpg", {}, 1),
    ("RGB", ".jpeg", {"quality": 90}, 3),
    ("CMYK", ".jpg", {}, 3),
    ("1", ".bmp", {}, 1),
    ("L", ".bmp", {}, 1),
    ("P", ".bmp", {}, 3),
    ("RGB", ".bmp", {}, 3),
    ("RGBA", ".bmp", {}, 3),
    ("RGB", ".webp", {"lossless": True}, 3),
    ("RGBA", ".webp", {"lossless": True}, 3),
    ("L", ".webp", {}, 3),
    *((mode, ".tif", {}, 1) for mode in ("1", "L", "LA", "I;16", "I", "F")),
    *(
        (mode, ".tiff", {"compression": "tiff_lzw"}, 3)
        for mode in ("P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "PA")
    ),
]


def theirs(file: Path) -> Any:
    """What clean-fid makes of a file before it resizes it, uint8 [H, W, 3]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = ResizeDataset([file], mode="legacy_tensorflow")[0]
    return image.permute(1, 2, 0).round().byte().numpy()


def ours(path: Path) -> Any:
    return to_uint8(torch.cat(list(batches(path))))


@pytest.mark.parametrize(("mode", "suffix", "options", "channels"), CASES)
def test_a_mode_is_read_as_clean_fid_reads_it(
    mode: str, suffix: str, options: dict[str, Any], channels: int, tmp_path: Path
) -> None:
    file = tmp_path / f"a{suffix}"
    made(mode).save(file, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = ours(tmp_path)
    assert found.shape == (6, 5, channels)
    assert np.array_equal(np.broadcast_to(found, (6, 5, 3)), theirs(file))


@pytest.mark.parametrize(
    "order", [("L", "1", "RGB", "P"), ("RGB", "L", "LA"), ("CMYK", "I;16", "L")]
)
def test_grey_images_among_others_are_rgb_wherever_the_first_colour_is(
    order: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    files = [folder / f"{index:02}-{mode.replace(';', '')}.tif" for index, mode in enumerate(order)]
    for file, mode in zip(files, order, strict=True):
        made(mode).save(file)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    expected = np.stack([theirs(file) for file in files])
    for place in (folder, tmp_path / "in.zip"):
        found = np.concatenate([to_uint8(batch) for batch in batches(place, 2)])
        assert np.array_equal(found, expected)


def test_images_without_colours_keep_one_channel(tmp_path: Path) -> None:
    for index, mode in enumerate(("L", "1", "LA", "I;16", "L")):
        made(mode).save(tmp_path / f"{index}.png")
    assert ours(tmp_path).shape == (5, 6, 5, 1)


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    for suffix in (".png", ".webp", ".tif"):
        file = tmp_path / suffix[1:] / f"a{suffix}"
        file.parent.mkdir()
        options = {} if suffix == ".tif" else {"lossless": True, "default_image": False}
        SHADES.save(file, save_all=True, append_images=[SHADES.rotate(180)], **options)
        (found,) = ours(file.parent)
        assert np.array_equal(found, np.asarray(SHADES))
        assert np.array_equal(found, theirs(file))


def test_no_program_is_started_for_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript under the name of an image; a Ghostscript of our own would leave a mark."""
    program, mark = tmp_path / "bin" / "gs", tmp_path / "started"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    postscript = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"
    )
    for suffix in SUFFIXES:
        (tmp_path / f"in{suffix}").mkdir()
        (tmp_path / f"in{suffix}" / f"a{suffix}").write_bytes(postscript)
        with pytest.raises(InputError, match="not a complete image of an accepted format"):
            ours(tmp_path / f"in{suffix}")
    assert not mark.exists()


@pytest.mark.parametrize("other", ["GIF", "ICO", "PPM", "PCX", "TGA", "JPEG2000", "ICNS", "DDS"])
def test_no_other_format_is_read(other: str, tmp_path: Path) -> None:
    assert other not in FORMATS
    buffer = io.BytesIO()
    SHADES.resize((32, 32)).save(buffer, other)
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    with pytest.raises(
        InputError,
        match=r"a\.png: not a complete image of an accepted format \(PNG, JPEG, BMP, WEBP, TIFF\)",
    ):
        ours(tmp_path)


def test_a_format_may_have_another_s_suffix(tmp_path: Path) -> None:
    SHADES.save(tmp_path / "a.png", "JPEG")
    assert np.array_equal(ours(tmp_path)[0], theirs(tmp_path / "a.png"))


def test_large_images_of_few_bytes_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flat image is accepted up to a size, a larger one in proportion to its bytes."""
    monkeypatch.setattr(image_files, "FLAT_PIXELS", 2**14)
    Image.new("RGB", (128, 128)).save(tmp_path / "a.png")
    assert ours(tmp_path).shape == (1, 128, 128, 3)
    Image.new("RGB", (128, 129)).save(tmp_path / "a.png", compress_level=9)
    with pytest.raises(
        InputError, match=r"128×129 pixels in .* bytes; accepted: at most 128 pixels per byte"
    ):
        ours(tmp_path)
    Image.fromarray(RNG.integers(0, 256, (129, 128), dtype=np.uint8)).save(tmp_path / "a.png")
    assert ours(tmp_path).shape == (1, 129, 128, 1)


def test_messages_speak_of_no_objects(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    SHADES.save(buffer, "PNG")
    for content in (b"", b"text", buffer.getvalue()[:30], buffer.getvalue()[:60]):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.png: not a complete image") as rejected:
            ours(tmp_path)
        assert "object at" not in str(rejected.value)
