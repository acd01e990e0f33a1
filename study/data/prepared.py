"""Data sets from outside, read once into a file from which they are taken as they are needed.

The file is kept under root/cache/data, by what its source looked like. Where the source changes,
it is read again.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from degradations import InputError
from study.data.data import Data
from study.data.data_name import HUB, TORCHVISION, DataName
from study.data.folders import images_in
from study.data.listed import Listed, reject
from study.data.npz_samples import samples_in
from study.data.pixels import Pixels
from study.files.atomic import sha256
from study.files.lock import locked
from study.files.regular import check_regular

KEPT = "data"  # the folder in the cache
SAMPLES, LABELS, CARD = "samples.npy", "labels.npy", "card.json"
VERSION = 1  # of what is kept


def prepared(name: DataName, cache: Path) -> Data:
    """The data set of a place, read unless it is kept already.

    Raises InputError if there is nothing, and, naming all of them, for samples that cannot be used.
    """
    home = cache / KEPT / _key(name)
    if not (home / CARD).is_file():
        listed = None if name.is_published else _listed(name, cache)  # before anything is written
        with locked(cache / KEPT / f".{home.name}.lock"):
            if not (home / CARD).is_file():  # another process may have read it meanwhile
                _prepare(str(name), listed or _listed(name, cache), home)
    return _open(str(name), home)


def is_kept(name: DataName, cache: Path) -> bool:
    """Whether the data set of a published name was read, or its files are in the cache."""
    files = cache / name.place.removeprefix(TORCHVISION)
    return (cache / KEPT / _key(name) / CARD).is_file() or files.is_dir()


def _listed(name: DataName, cache: Path) -> Listed:
    if name.place.startswith(TORCHVISION):
        from study.data.torchvision_sets import images_of

        return images_of(name, cache)
    if name.place.startswith(HUB):
        from study.data.hub import images_of_hub

        return images_of_hub(name, cache)
    if name.path.suffix == ".npz":
        return samples_in(name.path, name.size)
    if name.path.is_dir() or zipfile.is_zipfile(name.path):
        return images_in(name.path, name.size)
    raise InputError(
        f"{name.path}: found another file; accepted: a folder or zip of images, or an .npz."
    )


def _key(name: DataName) -> str:
    """What determines the samples of a name: its options, and how its files look from outside.

    Of a published name nothing else counts: what is published does not change.
    """
    seen: list[Any] = [VERSION, name.size, name.split]
    if name.is_published:
        seen.append(name.place)
    elif name.path.is_dir():
        seen.append(str(name.path.resolve()))
        files = (file for file in sorted(name.path.rglob("*")) if file.is_file())
        seen += ((str(file), *_stamp(file)) for file in files)
    else:
        check_regular(name.path, 2**40)
        seen += (str(name.path.resolve()), *_stamp(name.path))
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _prepare(name: str, listed: Listed, home: Path) -> None:
    """Write the samples of a place, their labels and a card into a folder, which then appears."""
    part = home.with_name(f".part-{home.name}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed; this one has the lock
    part.mkdir(parents=True)
    try:
        shape = _write_samples(name, listed, part / SAMPLES)
        if listed.labels is not None:
            np.save(part / LABELS, np.asarray(listed.labels, np.int64))
        card = {
            "name": name,
            "shape": shape,
            "classes": list(listed.classes),
            "sha256": _digest(part),
        }
        (part / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(home, ignore_errors=True)  # left without its card
        part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_samples(name: str, listed: Listed, path: Path) -> list[int]:
    """Write the samples as one array, [N, C, H, W] or [N, …], and return its shape."""
    problems, kept, written = [], None, 0
    for place, sample in listed.read():
        if isinstance(sample, str):
            problems.append(sample)
            continue
        if problems:  # nothing is kept, but all that is wrong is said
            continue
        array = sample.transpose(2, 0, 1) if sample.dtype == np.uint8 else sample
        if kept is None:
            shape = (listed.n, *array.shape)
            kept = np.lib.format.open_memmap(path, "w+", array.dtype, shape)
        if array.shape != kept.shape[1:]:
            problems.append(f"{place}: found shape {array.shape}, the first has {kept.shape[1:]}.")
            continue
        kept[written] = array
        written += 1
    reject(name, problems, listed.n)
    assert kept is not None
    assert written == listed.n
    kept.flush()
    return list(kept.shape)


def _digest(part: Path) -> str:
    """The SHA-256 of samples and labels, which identifies the content wherever it came from."""
    files = [part / SAMPLES, *([part / LABELS] if (part / LABELS).exists() else [])]
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def _open(name: str, home: Path) -> Data:
    card = json.loads((home / CARD).read_text(encoding="utf-8"))
    samples = np.load(home / SAMPLES, mmap_mode="r")
    labels = home / LABELS
    return Data(
        name,
        Pixels(samples),
        torch.from_numpy(np.load(labels)) if labels.exists() else None,
        classes=len(card["classes"]),
        digest=card["sha256"],
    )
