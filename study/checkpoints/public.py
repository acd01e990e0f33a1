"""Cards of public checkpoints and statistics: where they are, what they are, and what was published of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from study.files.cache import PublicFile

CARDS = Path(__file__).with_name("public.json")


@dataclass(frozen=True)
class PublicCard:
    """A public checkpoint: its file, its network, and published scores.

    class_name, arguments: of the network, as its pickle has them; reference: name of the statistics that it is compared
    with; latents: whether its samples are latents of the EDM2 decoder; ema: relative width; kimg: training images in
    thousands; fid, fd_dinov2: published, of unguided samples; guided: published results with this one as main.
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
    """Published moments of a data set: their file, the extractors they are of, and the images' height and width."""

    file: PublicFile
    extractors: tuple[str, ...]
    size: tuple[int, int]


@cache
def public_cards() -> Mapping[str, PublicCard]:
    """All public checkpoints by name."""
    entries = _entries()
    return {name: _card(name, entries) for name in entries["checkpoints"]}


@cache
def public_statistics() -> Mapping[str, PublicStatistics]:
    """All published statistics by name."""
    found = {}
    for name, entry in _entries()["statistics"].items():
        address = str(entry["address"])
        file = PublicFile(address.rsplit("/", 1)[1], address, entry.get("sha256"), entry.get("bytes"),
                          f"statistics {name}")  # fmt: skip
        found[name] = PublicStatistics(file, tuple(entry["extractors"]), tuple(entry["size"]))
    return found


def _card(name: str, entries: Mapping[str, Any]) -> PublicCard:
    entry = entries["checkpoints"][name]
    family = entries["families"][entry["family"]]
    file = PublicFile(f"{name}.pkl", family["address"].format(name=name), entry.get("sha256"), entry.get("bytes"),
                      f"checkpoint {name}")  # fmt: skip
    return PublicCard(
        file, family["class"], {**family["arguments"], **entry["arguments"]}, family["reference"], family["latents"],
        family["licence"], family["paper"],
        **{key: entry[key] for key in ("ema", "kimg", "fid", "fd_dinov2", "note") if key in entry},
        guided=tuple(each for each in entries["guided"] if each["main"] == name),
    )  # fmt: skip


@cache
def _entries() -> Mapping[str, Any]:
    entries: Mapping[str, Any] = json.loads(CARDS.read_text(encoding="utf-8"))
    return entries
