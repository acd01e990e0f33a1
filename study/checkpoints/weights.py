"""A folder with a network: `card.json`, which says what it is and how it was made, and `weights.safetensors`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from degradations import Refused
from study.files.atomic import replacing, sha256, write_text

SHIPPED = Path(__file__).parent
CARD, WEIGHTS = "card.json", "weights.safetensors"
MOST_BYTES = 64 * 2**30


@dataclass(frozen=True)
class Card:
    """What is known of a network: its kind ('denoiser', 'classifier') and all that its card says."""

    folder: Path
    kind: str
    entries: Mapping[str, Any]

    def get(self, key: str, type_: type) -> Any:
        """An entry of a type. Raises Refused where it is missing or of another type."""
        value = self.entries.get(key)
        if not isinstance(value, type_):
            found = "nothing" if key not in self.entries else repr(value)[:80]
            raise Refused(f"{self.folder / CARD}: '{key}' should be of type {type_.__name__}, found {found}.")
        return value


def find(name: str | Path, kind: str) -> Card:
    """The card of a shipped name or of a folder. Raises Refused where there is none of the kind, or it is damaged."""
    shipped = sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}"))
    folder = SHIPPED / str(name) if str(name) in shipped else Path(name)
    path = folder / CARD
    if not path.is_file():
        raise Refused(
            f"'{name}' is neither a shipped card ({', '.join(shipped)}) nor a folder with a {CARD}; nor, where a base "
            "is wanted, a public card, a .pkl, .safetensors or .pt, a folder of diffusers, or hub:org/name."
        )
    try:
        if path.stat().st_size > 2**20:
            raise ValueError("larger than 1 MiB")
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entries, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path}: not a card in JSON ({error}).") from None
    if entries.get("kind") != kind:
        raise Refused(f"{path}: the card of a {kind} is wanted, this one says kind {entries.get('kind')!r}.")
    return Card(folder, kind, entries)


def save(folder: Path, module: nn.Module, kind: str, entries: Mapping[str, Any]) -> Card:
    """Write a network's weights, then its card, each whole or not at all."""
    write(folder / WEIGHTS, module)
    card = {"kind": kind, **entries, "weights_sha256": sha256(folder / WEIGHTS)}
    write_text(folder / CARD, json.dumps(card, indent=2) + "\n")
    return Card(folder, kind, card)


def fill(module: nn.Module, card: Card) -> str:
    """Load a card's weights into a module, switch it to evaluation, and return their SHA-256.

    Raises Refused for weights that are missing, damaged, of another network, or not finite.
    """
    path = card.folder / WEIGHTS
    if not path.is_file():
        raise Refused(f"{path}: missing; {card.folder / CARD} wants its weights beside it.")
    if path.stat().st_size > MOST_BYTES:
        raise Refused(f"{path}: {path.stat().st_size} bytes, more than the {MOST_BYTES} that are read.")
    found = sha256(path)
    if found != card.get("weights_sha256", str):
        raise Refused(f"{path}: SHA-256 {found}, its card says another: damaged, or not its own.")
    module.load_state_dict(read(path, module))
    module.eval().requires_grad_(False)
    return found


def read(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file of weights. Raises Refused where it is damaged, of another network, or not finite."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise Refused(f"{path}: not a whole safetensors file ({error}).") from None
    compare(path, module.state_dict(), tensors, exact=True)
    return tensors


def write(path: Path, module: nn.Module) -> None:
    """Write a network's weights, whole or not at all."""
    with replacing(path) as part:
        save_file(plain(module), part)


def plain(module: nn.Module) -> dict[str, Tensor]:
    """A network's tensors by name, as they are written."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def compare(path: Path, wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], exact: bool = False) -> None:
    """Raises Refused, naming the first tensor that differs, for those of another network, or not finite.

    exact: of the same types too, rather than of any floating type.
    """
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise Refused(f"{path}: no tensor '{name}', which its network has.")
        if name not in wanted:
            raise Refused(f"{path}: a tensor '{name}' that its network does not have.")
        if (have := tuple(tensors[name].shape)) != (want := tuple(wanted[name].shape)):
            raise Refused(f"{path}: '{name}' has shape {have}, its network wants {want}.")
        if tensors[name].dtype != wanted[name].dtype and (exact or not tensors[name].is_floating_point()):
            raise Refused(f"{path}: '{name}' is {tensors[name].dtype}, its network wants {wanted[name].dtype}.")
        if not torch.isfinite(tensors[name]).all():
            raise Refused(f"{path}: '{name}' has entries that are not finite.")
