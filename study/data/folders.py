"""Images of a folder or a zip, with a class for each subfolder or the labels of dataset.json."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from degradations import InputError
from study.data.listed import Array, Listed, square
from study.files.image_files import GREY, SUFFIXES, damaged, decoded, files_in, opened
from study.files.regular import read_json
from study.files.zips import open_zip, read_entry

LABELS = "dataset.json"  # EDM's and EDM2's
MOST_LABELS = 2**28  # bytes of it
MOST_CLASSES = 100_000


def images_in(path: Path, size: int | None) -> Listed:
    """The images of a folder or zip, of which only the headers are read here.

    Labels are those of dataset.json, if it is there; else every subfolder is a class, in
    alphabetical order. Raises InputError if there are no images, and for labels that do not match.
    """
    headers: dict[str, tuple[str, tuple[int, int]] | str] = {}
    for name, content in files_in(path):
        try:
            image = opened(name, content)
            headers[name] = image.mode, image.size
        except InputError as error:
            headers[name] = str(error)
    if not headers:
        raise InputError(f"{path}: no images in it (looked for {', '.join(SUFFIXES)}).")
    known = [each for each in headers.values() if not isinstance(each, str)]
    grey = all(mode in GREY for mode, _ in known)
    usual = Counter(shape for _, shape in known).most_common(1)[0][0] if known else (0, 0)

    def problem(name: str) -> str:
        """Why an image cannot be used, by its header."""
        header = headers.get(name, f"{name}: changed while it was read.")
        if isinstance(header, str) or size is not None or header[1] == usual:
            return header if isinstance(header, str) else ""
        sides = "{}×{}, most are {}×{}".format(*header[1], *usual)
        return f"{name}: {sides}; '@size=N' after the name crops and resizes them."

    def converted(name: str, image: Image.Image) -> Array | str:
        try:
            return square(image, size, grey)
        except Exception as error:  # a damaged image can cause any error
            return str(damaged(name, error))

    def read() -> Iterator[tuple[str, Array | str]]:
        yield from ((name, why) for name in headers if (why := problem(name)))
        good = ((name, content) for name, content in files_in(path) if not problem(name))
        yield from decoded(good, converted)

    inside = [_inside(path, name) for name in headers]
    labels, classes = _labels(path, inside)
    return Listed(len(headers), read, labels, classes)


def _inside(path: Path, name: str) -> str:
    """The name of a file within its folder or zip, with '/'."""
    if path.is_dir():
        return Path(name).relative_to(path).as_posix()
    return name.removeprefix(f"{path}: ")


def _labels(path: Path, inside: Sequence[str]) -> tuple[list[int] | None, list[str]]:
    """The labels of files, and the names of their classes."""
    known = _dataset_json(path)
    if known is not None:
        return _of_json(path, known, inside)
    folders = [parts[0] if len(parts := PurePosixPath(name).parts) > 1 else "" for name in inside]
    if not any(folders):
        return None, []
    outside = [name for name, folder in zip(inside, folders, strict=True) if not folder]
    if outside:
        raise InputError(
            f"{path}: {len(outside)} images lie outside of the subfolders, which are its classes, "
            f"such as {outside[0]}; accepted: all in subfolders, or none."
        )
    classes = sorted(set(folders))
    places = {name: label for label, name in enumerate(classes)}
    return [places[folder] for folder in folders], classes


def _dataset_json(path: Path) -> Any:
    if path.is_dir():
        file = path / LABELS
        return read_json(file, MOST_LABELS, "not labels in JSON") if file.is_file() else None
    with open_zip(path) as archive:
        entry = next((each for each in archive.infolist() if each.filename == LABELS), None)
        if entry is None:
            return None
        try:
            return json.loads(read_entry(path, archive, entry, MOST_LABELS))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: {LABELS}: not labels in JSON ({str(error)[:200]})."
            ) from None


def _of_json(path: Path, known: Any, inside: Sequence[str]) -> tuple[list[int] | None, list[str]]:
    pairs: Any = known.get("labels") if isinstance(known, dict) else known
    if isinstance(known, dict) and "labels" in known and pairs is None:
        return None, []
    try:
        labels = {str(name): label for name, label in pairs}
        found = [labels[name] for name in inside]
    except KeyError as error:
        raise InputError(f"{path}: {LABELS} has no label of {error}.") from None
    except (TypeError, ValueError):
        raise InputError(
            f'{path}: {LABELS}: accepted: {{"labels": [[NAME, CLASS], …]}}, or null.'
        ) from None
    if not all(type(label) is int and 0 <= label < MOST_CLASSES for label in found):
        raise InputError(
            f"{path}: {LABELS}: accepted as classes: integers from 0 to {MOST_CLASSES - 1}."
        )
    return found, [str(label) for label in range(max(found) + 1)]
