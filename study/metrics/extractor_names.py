"""Feature extractors by name, or by a card of the user's own."""

import re
from pathlib import Path

from degradations import InputError
from study.checkpoints import CACHE
from study.checkpoints.weights import MOST_CARD
from study.files.cache import PublicFile, obtain
from study.files.regular import read_json
from study.metrics.extractor import Extractor
from study.metrics.images import Images
from study.metrics.inception import MODES, load_script


def extractors() -> dict[str, type[Extractor]]:
    """All extractors by name, in alphabetical order."""
    known = [*Extractor.__subclasses__(), *Images.__subclasses__()]
    named = [each for each in known if "name" in vars(each)]
    return {each.name: each for each in sorted(named, key=lambda each: each.name)}


def load_extractor(name: str, root: Path = Path("mlruns")) -> Extractor:
    """The extractor of a name, or of a card of the user's own, a .json file.

    Published weights are in root/cache. A card mine.json, {"kind": "extractor", "file": "net.pt",
    "sha256": "…", "mode": "clean"}, declares a trusted TorchScript beside it, called like
    `inception` (mode clean) or `inception_tf` (mode tf); its metric is `fd_mine`. Raises InputError
    if the name is unknown, a file is damaged or cannot be obtained, or the card is not valid.
    """
    if name.endswith(".json"):
        return _of_card(Path(name))
    made = extractor_of(name)
    return made.load(None if made.file is None else obtain(made.file, root / CACHE))


def files_of(name: str) -> list[PublicFile]:
    """The public files that an extractor needs in root/cache.

    Raises InputError if the name is unknown.
    """
    file = None if name.endswith(".json") else extractor_of(name).file
    return [] if file is None else [file]


def extractor_of(name: str) -> type[Extractor]:
    """The extractor of a name. Raises InputError if there is none."""
    if name not in extractors():
        raise InputError(
            f"extractor: found '{name}'; accepted: {', '.join(extractors())}, and the path of a "
            "card, a .json file."
        )
    return extractors()[name]


def _of_card(path: Path) -> Extractor:
    wanted, name = ("file", "sha256", "mode"), path.stem
    card = read_json(path, MOST_CARD, "not the card of an extractor")
    try:
        if not isinstance(card, dict) or card.get("kind") != "extractor":
            raise ValueError('accepted: an object with "kind": "extractor"')
        if not all(isinstance(card.get(key), str) for key in wanted) or card.keys() - {
            "kind",
            *wanted,
        }:
            raise ValueError(
                f"found {', '.join(card)[:200]}; accepted: {', '.join(wanted)}, all of them text"
            )
        file, digest, mode = (str(card[key]) for key in wanted)
    except ValueError as error:
        raise InputError(f"{path}: not the card of an extractor ({error}).") from None
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in extractors():
        raise InputError(
            f"{path}: found name '{name[:80]}'; accepted: small letters, digits and _, other than "
            "the name of a known extractor."
        )
    if mode not in MODES:
        raise InputError(f"{path}: found mode '{mode[:80]}'; accepted: {' or '.join(MODES)}.")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise InputError(
            f"{path}: found sha256 '{digest[:80]}'; accepted: 64 hexadecimal digits, in small "
            "letters."
        )
    return Images(name, f"{digest} {mode}", load_script(path.parent / file, digest, mode))
