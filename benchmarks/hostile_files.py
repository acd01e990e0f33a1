"""hostile_files: files that would harm, or are damaged, each read by the public reader that a user
reaches it by.

Some 240 are crafted (`hostile_images.py`, `hostile_weights.py`), and 160 are small whole ones
(`hostile_kinds.py`) with a damage, the same every time. Each must be read, or rejected by the
project's own error in words of its own, and may take 200 MB of memory more than it has bytes, above
what the process had before. Printed are counts, the most memory above the file's own size, and the
slowest. `--crafted`: those alone; `--verbose`: a line a file. The exit status is 1 where anything
else was raised, or a file took more memory.

Memory is the peak of what is resident, as Linux counts it anew when it is told to, once for every
file.
"""

import argparse
import ctypes
import gc
import json
import random
import re
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile_images import arrays, images, statistics, zips
from hostile_kinds import (
    READERS,
    SMALL,
    Case,
    card,
    image,
    mutated,
    network_pickle,
    npz,
    of_diffusers,
    own_base,
    packed,
    saved,
    script,
    weights,
)
from hostile_weights import cards, impostors, pickles, plain, states
from safetensors.torch import save

from degradations import InputError

MOST_MB, MOST_SECONDS, EACH = 200, 60, 7
# What belongs to a library's insides, or advises to trust a file that is rejected.
FOREIGN = re.compile(
    r"object at 0x|weights_only|allow_pickle|trust|miniz|Traceback|https?://|\bissue\b|_io\."
)
libc = ctypes.CDLL("libc.so.6")


def crafted(folder: Path) -> Iterator[Case]:
    """Those that ask for much, and those that are not what their names say, each in a folder of its
    own."""
    for make in (images, zips, arrays, statistics, pickles, states, plain, cards, impostors):
        for name, (reader, files) in make().items():
            place = folder / f"{make.__name__}-{name}"
            place.mkdir()
            for file, content in files.items():
                (place / file).write_bytes(content) if isinstance(content, bytes) else content(
                    place / file
                )
            yield Case(make.__name__, place / next(iter(files)), READERS[reader])


def damaged(folder: Path) -> Iterator[Case]:
    """Small whole files of each kind, EACH times with a damage."""
    draws = random.Random(0)
    eye = {"mu": np.zeros(6), "sigma": np.eye(6)}
    own, theirs = own_base(), of_diffusers()
    beside = {"w.safetensors": save(weights()), "w.json": card(SMALL)}
    folded = {f"{index}.png": image("PNG", mode) for index, mode in enumerate(("L", "RGB", "P"))}
    wholes: dict[str, tuple[str, str, dict[str, bytes]]] = {
        **{
            f"{kind} image": ("folder", name, {name: image(kind, mode, **options)})
            for kind, mode, name, options in (
                ("PNG", "RGBA", "a.png", {}),
                ("JPEG", "RGB", "a.jpg", {}),
                ("BMP", "P", "a.bmp", {}),
                ("WEBP", "RGB", "a.webp", {}),
                ("TIFF", "RGB", "a.tif", {"compression": "tiff_lzw"}),
            )
        },
        "animated WebP": ("folder", "a.webp", {"a.webp": image("WEBP", frames=3)}),
        "zip of images": ("samples", "a.zip", {"a.zip": packed(folded)}),
        "NPZ of images": (
            "samples",
            "a.npz",
            {"a.npz": npz(samples=np.ones((9, 8, 8, 3), np.uint8))},
        ),
        "NPZ of floats": ("samples", "a.npz", {"a.npz": npz(compressed=False, x=np.ones((9, 8)))}),
        "statistics": (
            "statistics",
            "s.npz",
            {"s.npz": npz(**eye, n=9, extractor="pixels", sha256="pixels")},
        ),
        "EDM2 pickle": ("base", "w.pkl", {"w.pkl": network_pickle("Precond", SMALL, weights())}),
        "EDM pickle": (
            "base",
            "w.pkl",
            {"w.pkl": network_pickle("VPPrecond", SMALL, weights("VPPrecond"))},
        ),
        "state dict": ("base", "w.pt", {"w.pt": saved(weights()), "w.json": card(SMALL)}),
        "old state dict": (
            "base",
            "w.pt",
            {"w.pt": saved(weights(), _use_new_zipfile_serialization=False), "w.json": card(SMALL)},
        ),
        "safetensors": ("base", "w.safetensors", beside),
        "card of weights": ("base", "w.json", beside),
        **{f"{target} of a base": ("own", target, own) for target in own},
        **{f"{target} of diffusers": ("own", target, theirs) for target in theirs},
        "state dict of DINOv2": (
            "dinov2",
            "w.pth",
            {"w.pth": saved({"norm.bias": torch.zeros(1024)})},
        ),
    }
    for kind, (reader, target, files) in wholes.items():
        for index in range(EACH):
            place = folder / f"{kind}-{index}"
            place.mkdir()
            for name, content in files.items():
                (place / name).write_bytes(mutated(content, draws) if name == target else content)
            yield Case(kind, place / next(iter(files)), READERS[reader])
    for kind, target in (("TorchScript", "net.pt"), ("card of an extractor", "mine.json")):
        for index in range(EACH):
            place = folder / f"{kind}-{index}"
            place.mkdir()
            content = mutated(script(), draws) if target == "net.pt" else script()
            entries = {
                "kind": "extractor",
                "file": "net.pt",
                "sha256": sha256(content).hexdigest(),
                "mode": "tf",
            }
            text = json.dumps(entries).encode()
            (place / "net.pt").write_bytes(content)
            (place / "mine.json").write_bytes(
                mutated(text, draws) if target == "mine.json" else text
            )
            yield Case(kind, place / "mine.json", READERS["extractor"])


def kib(name: str) -> int:
    """An entry of the kernel's account of this process."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0])


def measured(case: Case) -> tuple[str, str, float, float]:
    """How a reading ended, what was said, the memory above the files' own size in MB, and the
    seconds."""
    gc.collect()
    libc.malloc_trim(0)
    # where it may not be told to, the peak is that of all files before, too
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, began = kib("VmRSS"), time.perf_counter()
    signal.alarm(MOST_SECONDS)
    try:
        case.read(case.path)
        ending, said = "read", ""
    except InputError as error:
        said = str(error)
        ending = (
            "other"
            if FOREIGN.search(said.replace(str(case.path.parent), "")) or len(said) > 1500
            else "rejected"
        )
    except BaseException as error:  # a panic of a library is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        ending, said = "other", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    seconds = time.perf_counter() - began
    own = sum(
        file.lstat().st_size
        for file in case.path.parent.rglob("*")
        if file.is_file() and not file.is_symlink()
    )
    return ending, said, (kib("VmHWM") - before) / 1024 - own / 2**20, seconds


def late(*_: Any) -> None:
    raise TimeoutError(f"more than {MOST_SECONDS} s")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Reads files that would harm, and counts how that ended."
    )
    parser.add_argument("--crafted", action="store_true", help="leave the damaged ones out")
    parser.add_argument("--verbose", action="store_true", help="print a line a file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, late)
    endings: Counter[str] = Counter()
    most = (0.0, "")
    slowest = (0.0, "")
    with tempfile.TemporaryDirectory() as name:
        cases = [*crafted(Path(name)), *([] if options.crafted else damaged(Path(name)))]
        for case in cases:
            ending, said, memory, seconds = measured(case)
            endings[ending] += 1
            label = f"{case.path.relative_to(name)}"
            most, slowest = max(most, (memory, label)), max(slowest, (seconds, label))
            bad = ending == "other" or memory > MOST_MB
            if bad or options.verbose:
                print(
                    f"{ending:8}{memory:8.1f} MB{seconds:7.2f} s  {label}: {said[:600]}", flush=True
                )
    for ending in ("rejected", "read", "other"):
        print(f"hostile_{ending} {endings[ending]}")
    print(f"hostile_memory_mb {most[0]:.0f} ({most[1]})")
    print(f"hostile_seconds {slowest[0]:.1f} ({slowest[1]})")
    return int(endings["other"] > 0 or most[0] > MOST_MB)


if __name__ == "__main__":
    sys.exit(main())
