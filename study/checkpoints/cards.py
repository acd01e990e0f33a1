"""Cards of public checkpoints and statistics: their addresses, contents and published scores."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from study.files.cache import PublicFile

CARDS = Path(__file__).with_name("public.json")


@dataclass(frozen=True)
class PublicCard:
    """A public checkpoint: its file, its network, and published scores.

    class_name, arguments: of the network, as in its pickle; reference: name of its reference
    statistics; latents: whether its samples are latents of the EDM2 decoder; ema: relative width;
    kimg: training images in thousands; fid, fd_dinov2: published, of unguided samples; guided:
    published results with this one as main.
    """

    file: PublicFile
    class_name: str
    arguments: Mapping[str, Any]
    reference: str
    latents: bool
    licence: str
    paper: str
    ema: float | None = None
    kimg: int | None = None
    fid: float | None = None
    fd_dinov2: float | None = None
    note: str = ""
    guided: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class PublicStatistics:
    """NetworkFile moments of a data set.

    files: one for each extractor that has statistics; size: height and width of the images.
    """

    files: Mapping[str, PublicFile]
    size: tuple[int, int]


@cache
def public_cards() -> Mapping[str, PublicCard]:
    """All public checkpoints by name."""
    entries = _entries()
    return {name: _card(name, entries) for name in entries["checkpoints"]}


@cache
def public_statistics() -> Mapping[str, PublicStatistics]:
    """All published statistics by name.

    NVIDIA's, and clean-fid's by data set, split and resolution.
    """
    found = {}
    for name, entry in _entries()["statistics"].items():
        address = str(entry["address"])
        file = PublicFile(
            address.rsplit("/", 1)[1],
            address,
            entry.get("sha256"),
            entry.get("bytes"),
            f"statistics {name}",
        )
        found[name] = PublicStatistics(
            dict.fromkeys(entry["extractors"], file), tuple(entry["size"])
        )
    clean_fid = _entries()["clean-fid"]
    for name, extractors in clean_fid["names"].items():
        files = {
            extractor: _clean_fid_file(name, clean_fid["modes"][extractor])
            for extractor in extractors
        }
        resolution = int(name.rsplit(" ", 1)[1])
        found[name] = PublicStatistics(files, (resolution, resolution))
    return found


def find_statistics(name: str) -> PublicStatistics | None:
    """The published statistics of a name; None if there are none, or several.

    For clean-fid's the resolution may be omitted if there is only one, and colons may replace the
    spaces: `cifar10 train 32`, `cifar10 train` and `cifar10:train` are the same.
    """
    known = public_statistics()
    found = [name] if name in known else _beginning(name) if " " in _plain(name) else []
    return known[found[0]] if len(found) == 1 else None


def near(name: str, others: Iterable[str] = ()) -> list[str]:
    """Names of published statistics, or of others, that an unknown name may have meant."""
    return _beginning(name) or get_close_matches(_plain(name), [*others, *public_statistics()], n=2)


def _beginning(name: str) -> list[str]:
    """The names of statistics that begin with the words of a name.

    That is, with a data set, or a data set and a split.
    """
    plain = _plain(name)
    return [
        each
        for each in public_statistics()
        if plain and (each == plain or each.startswith(f"{plain} "))
    ]


def _plain(name: str) -> str:
    """A name in lower case, with its words separated by single spaces."""
    return re.sub(r"[\s:]+", " ", name.lower()).strip()


def _clean_fid_file(name: str, mode: str) -> PublicFile:
    """The file and address of clean-fid's statistics by name and mode.

    As in `cleanfid.features.get_reference_statistics`.
    """
    dataset, split, resolution = name.split()
    address = _entries()["clean-fid"]["address"].format(
        dataset=dataset, mode=mode, split=split, resolution=resolution
    )
    return PublicFile(
        address.rsplit("/", 1)[1],
        address,
        None,
        None,
        f"clean-fid's statistics {name}, mode {mode}",
    )


def _card(name: str, entries: Mapping[str, Any]) -> PublicCard:
    entry = entries["checkpoints"][name]
    family = entries["families"][entry["family"]]
    file = PublicFile(
        f"{name}.pkl",
        family["address"].format(name=name),
        entry.get("sha256"),
        entry.get("bytes"),
        f"checkpoint {name}",
    )
    return PublicCard(
        file,
        family["class"],
        {**family["arguments"], **entry["arguments"]},
        family["reference"],
        family["latents"],
        family["licence"],
        family["paper"],
        **{key: entry[key] for key in ("ema", "kimg", "fid", "fd_dinov2", "note") if key in entry},
        guided=tuple(each for each in entries["guided"] if each["main"] == name),
    )


@cache
def _entries() -> Mapping[str, Any]:
    entries: Mapping[str, Any] = json.loads(CARDS.read_text(encoding="utf-8"))
    return entries
