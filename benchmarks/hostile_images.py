"""Hostile images, zips, arrays and statistics: small ones that ask for much. For
`hostile_files.py`."""

import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from hostile_kinds import Crafted, image, npz, packed


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png(
    width: int, height: int, colour: int = 2, *chunks: bytes, data: bytes | None = None
) -> bytes:
    """Black, or with compressed `data` in the place of its pixels."""
    if data is None:
        data = zlib.compress(bytes((width * (3 if colour == 2 else 1) + 1) * min(height, 4096)), 9)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunks)
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def _tiff(
    tags: Mapping[int, tuple[int, int, bytes | int]], data: bytes = b"", repeats: int = 0
) -> bytes:
    """One of some tags, {tag: (type, count, value or bytes beside)}, and of more that are all of
    the same bytes."""
    for extra in range(repeats):
        tags = {**tags, 40_000 + extra: (7, len(data), b"")}
    start = 8 + 2 + 12 * len(tags) + 4
    rows = b""
    for tag, (kind, count, value) in sorted(tags.items()):
        rows += struct.pack("<HHII", tag, kind, count, start if isinstance(value, bytes) else value)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + data


def _patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def images() -> Crafted:
    bomb = zlib.compress(bytes(2**27), 9)
    text = [_chunk(b"zTXt", b"k%d\0\0" % i + bomb) for i in range(3)]
    texts = [
        _chunk(b"iTXt", b"k%d\0\1\0\0\0" % i + zlib.compress(b"a" * 2**20, 9)) for i in range(300)
    ]
    size = {256: (4, 1, 16), 257: (4, 1, 16), 258: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}
    tile = {
        **size,
        259: (3, 1, 8),
        322: (4, 1, 30_000),
        323: (4, 1, 30_000),
        324: (4, 1, 200),
        325: (4, 1, 2**20),
    }
    strip = {
        **size,
        257: (4, 1, 60_000),
        259: (3, 1, 8),
        273: (4, 1, 200),
        278: (4, 1, 2**30),
        279: (4, 1, 2**20),
    }
    raw = {**size, 259: (3, 1, 1), 273: (4, 1, 8), 278: (4, 1, 16), 279: (4, 1, 256)}
    deflated = zlib.compress(bytes(2**28), 9)
    jpeg = image("JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    exif = b"Exif\0\0" + _tiff({}, bytes(30_000), 2000)
    exifs = b"".join(
        b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in [exif[:65_000]] * 30
    )
    webp, animated = image("WEBP", lossless=True), image("WEBP", frames=40)
    rle = image("BMP", "P")
    ghost = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n(hostile) print\nshowpage\n"
    contents = {
        "postscript.png": ghost,
        "large.png": _png(30_000, 30_000),
        "wide.png": _png(2**24, 1),
        "short.png": _png(4096, 4096, data=zlib.compress(bytes(2**25), 9)),
        "palette.png": _png(16, 16, 3),
        "much-data.png": _png(16, 16, data=bomb),
        "text.png": _png(16, 16, 2, *text),
        "texts.png": _png(16, 16, 2, *texts),
        "profile.png": _png(16, 16, 2, _chunk(b"iCCP", b"p\0\0" + bomb)),
        "frames.png": image("PNG", frames=40),
        "tile.tif": _tiff(tile, deflated),
        "strip.tif": _tiff(strip, deflated),
        "entries.tif": _tiff(raw, bytes(2**17), 4000),
        "large.jpg": _patched(jpeg, frame, b"\xff\xdc\xff\xdc"),
        "square.jpg": _patched(jpeg, frame, b"\x10\0\x10\0"),
        "exif.jpg": jpeg[:2] + exifs + jpeg[2:],
        "progressive.jpg": image("JPEG", side=4096, progressive=True)[:-2000],
        "frames.webp": animated,
        "large.webp": _patched(webp, 21, struct.pack("<I", 0x3FFF | 0x3FFF << 14)),
        "runs.bmp": _patched(_patched(rle, 18, struct.pack("<ii", 2**24, 1)), 30, b"\1")
        + b"\0\2\0\xff" * 50,
        "large.bmp": _patched(rle, 18, struct.pack("<ii", 2**30, 2**30)),
        "gif.png": image("GIF", "P"),
        "icon.png": image("ICO"),
        "text.jpg": b"text",
        "empty.png": b"",
    }
    many = {f"{index}.png": _png(4096, 4096, 0) for index in range(12)}
    return {
        **{name: ("folder", {name: content}) for name, content in contents.items()},
        "many": ("folder", many),
        "flat": ("folder", {f"{index}.png": _png(2048, 2048) for index in range(9)}),
        "sizes": ("folder", {"a.png": image("PNG"), "b.png": image("PNG", side=17)}),
    }


def zips() -> Crafted:
    noise = np.random.default_rng(0).bytes(12 * 2**20)
    texts = [
        _png(16, 16, 2, _chunk(b"tEXt", b"k\0" + text))
        for text in (bytes(15 * 2**20), noise + bytes(2**25))
    ]
    lying = packed({"a.png": bytes(2**29)})
    there = lying.index(b"PK\1\2")
    for at in (22, there + 24):  # where the sizes are said
        lying = _patched(lying, at, struct.pack("<I", 1000))
    entry = b"PK\1\2" + bytes(42)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 46 * 2_000_000, 0, 0)
    encrypted = _patched(packed({"a.png": image("PNG")}), 6, b"\1")
    encrypted = _patched(encrypted, encrypted.index(b"PK\1\2") + 8, b"\1")
    return {
        name: ("samples", {f"{name}.zip": content})
        for name, content in {
            "text": packed({f"{index}.png": texts[0] for index in range(6)}),
            "long": packed({"a.png": texts[1]}),
            "lying": lying,
            "zeros": packed({"a.png": bytes(2**26)}),
            "large": packed({"a.png": bytes(2**26 + 1)}),
            "many": entry * 2_000_000 + end,
            "bzip2": packed({"a.png": bytes(2**20)}, zipfile.ZIP_BZIP2),
            "lzma": packed({"a.png": bytes(2**20)}, zipfile.ZIP_LZMA),
            "encrypted": encrypted,
            "empty": packed({}),
            "latents": packed({"a.npy": bytes(100)}),
            "postscript": packed({"a.png": b"%!PS-Adobe-3.0 EPSF-3.0\n"}),
        }.items()
    }


def _npy(
    shape: str,
    dtype: str = "<f8",
    order: str = "False",
    data: bytes = b"",
    version: bytes = b"\1\0",
) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}}}".encode()
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + data


def arrays() -> Crafted:
    zeros = np.broadcast_to(np.zeros((), np.uint8), (250, 512, 512, 3))
    lying = packed({"samples.npy": _npy("(9, 9)", data=bytes(2**28))})
    for at in (22, lying.index(b"PK\1\2") + 24):
        lying = _patched(lying, at, struct.pack("<I", 700))
    arrays = {
        "(1, 400000000)": {"dtype": "|u1", "data": bytes(400_000_000)},
        "(2, 30000000)": {"data": bytes(480_000_000)},
        "(9, 2)": {"dtype": "|O", "data": pickle.dumps({})},
        "(1000000000000, 0)": {},
        "(-1, 2)": {},
        "(40000000, 2)": {"order": "True", "dtype": "|u1", "data": bytes(80_000_000)},
        "(9223372036854775807, 9)": {},
        f"({'9' * 5000}, 1)": {},
        "(True, 1)": {"data": bytes(8)},
        "(" * 9000: {},
        "(1, 1)": {"dtype": "<U99999999"},
        "(3, 2)": {"dtype": "|V999"},
        "(5, 1)": {"data": bytes(2**26)},
        "(6, 2)": {"version": b"\3\0"},
    }
    long = b"\x93NUMPY\2\0" + struct.pack("<I", 2**29) + b" " * 2**29
    found = {
        f"array-{index}": packed({"samples.npy": _npy(shape, **options)})
        for index, (shape, options) in enumerate(arrays.items())
    }
    found |= {
        "zeros": npz(samples=zeros),
        "lying": lying,
        "header": packed({"samples.npy": long}),
        "other": npz(y=np.zeros(3)),
        "points": npz(samples=np.zeros((3_000_000, 2))),
    }
    return {name: ("samples", {f"{name}.npz": content}) for name, content in found.items()}


def statistics() -> Crafted:
    ours = {"n": 9, "extractor": "pixels", "sha256": "pixels"}
    large = {"mu": np.zeros(20_000), "sigma": np.broadcast_to(0.0, (20_000, 20_000))}
    found = {
        "zeros": npz(**large, **ours),
        "held": npz(mu=np.zeros(8000), sigma=np.zeros((8000, 8000)), **ours),
        "negative": npz(mu=np.zeros(2800), sigma=-np.eye(2800), **ours),
        "skew": npz(mu=np.zeros(2800), sigma=np.tri(2800), **ours),
        "text": npz(mu=np.zeros(3), sigma=np.eye(3), **{**ours, "extractor": "x" * 10**7}),
        "count": npz(mu=np.zeros(3), sigma=np.eye(3), **{**ours, "n": np.nan}),
        "objects": npz(mu=np.zeros(3), sigma=np.array([{}]), **ours),
        "none": npz(mu=np.zeros(0), sigma=np.zeros((0, 0)), **ours),
        "unsaid": npz(mu=np.zeros(8000), sigma=np.zeros((8000, 8000))),
        "size": npz(mu=np.zeros(3), sigma=np.eye(3), size=np.array([np.inf, 1]), **ours),
    }
    pickled = {"fid": {"mu": np.zeros(3), "sigma": np.eye(3)}, "num_images": float("inf")}
    return {
        **{name: ("statistics", {f"{name}.npz": content}) for name, content in found.items()},
        "pickle": ("statistics", {"s.pkl": pickle.dumps(pickled, 4)}),
        "list": ("statistics", {"s.pkl": pickle.dumps([0] * 10**6, 4)}),
    }
