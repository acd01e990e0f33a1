"""A folder with a network: `card.json`, what it is and how it was made, and its weights.

The weights are in `weights.safetensors`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from degradations import InputError
from study.files.atomic import replacing, sha256, write_text
from study.files.regular import check_regular, read_json
from study.files.safetensors_file import MOST_BYTES, open_safetensors
from study.files.tensors import is_finite

SHIPPED = Path(__file__).parent
CARD, WEIGHTS = "card.json", "weights.safetensors"
MOST_CARD = 2**20  # bytes


@dataclass(frozen=True)
class Card:
    """The description of a network: its kind ('denoiser', 'classifier') and the card's entries."""

    folder: Path
    kind: str
    entries: Mapping[str, Any]

    def get(self, key: str, type_: type) -> Any:
        """An entry of a type. Raises InputError if it is missing or of another type."""
        value = self.entries.get(key)
        if not isinstance(value, type_):
            found = "nothing" if key not in self.entries else repr(value)[:80]
            raise InputError(
                f"{self.folder / CARD}: '{key}': found {found}; accepted: type {type_.__name__}."
            )
        return value


def find(name: str | Path, kind: str) -> Card:
    """The card of a shipped name or of a folder.

    Raises InputError if there is none of the kind, or it is damaged.
    """
    shipped = sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}"))
    folder = SHIPPED / str(name) if str(name) in shipped else Path(name)
    path = folder / CARD
    if not path.is_file():
        raise InputError(
            f"'{name}': not found; accepted: a shipped card ({', '.join(shipped)}), or a folder "
            f"with a {CARD}; for a base also a public card, a .pkl, .safetensors or .pt, a folder "
            "of diffusers, or hub:org/name."
        )
    entries = read_json(path, MOST_CARD, "not a card in JSON")
    if not isinstance(entries, dict):
        raise InputError(f"{path}: not a card in JSON (not an object).")
    if entries.get("kind") != kind:
        raise InputError(
            f"{path}: found a card of kind {repr(entries.get('kind'))[:80]}; accepted: the card of "
            f"a {kind}."
        )
    return Card(folder, kind, entries)


def save(folder: Path, module: nn.Module, kind: str, entries: Mapping[str, Any]) -> Card:
    """Write a network's weights, then its card, each atomically."""
    write(folder / WEIGHTS, module)
    card = {"kind": kind, **entries, "weights_sha256": sha256(folder / WEIGHTS)}
    write_text(folder / CARD, json.dumps(card, indent=2) + "\n")
    return Card(folder, kind, card)


def fill(module: nn.Module, card: Card) -> str:
    """Load a card's weights into a module, switch it to evaluation, and return their SHA-256.

    The module may be on the meta device: it takes memory only after the file's names and shapes
    have been checked. Raises InputError if the weights are missing, damaged, of another network, or
    not finite.
    """
    path = card.folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: missing; {card.folder / CARD} needs its weights beside it.")
    check_regular(path, MOST_BYTES)
    found = sha256(path)
    if found != card.get("weights_sha256", str):
        raise InputError(
            f"{path}: found SHA-256 {found}, its card has another; the file is damaged or another "
            "one."
        )
    materialise(module, read(path, module))
    return found


def read(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file of weights.

    Raises InputError if it is damaged, of another network, or not finite.
    """
    tensors = read_safetensors(path)
    compare(path, module.state_dict(), tensors, exact=True)
    return tensors


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises InputError if it is damaged or of another kind.
    """
    with open_safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping


def materialise(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Allocate a module and load these tensors, for evaluation.

    Every tensor of the module must be in its state dict.
    """
    module.to_empty(device="cpu")
    module.load_state_dict(dict(tensors))
    module.eval().requires_grad_(False)


def write(path: Path, module: nn.Module) -> None:
    """Write a network's weights atomically."""
    with replacing(path) as part:
        save_file(plain(module), part)


def plain(module: nn.Module) -> dict[str, Tensor]:
    """A network's tensors by name, contiguous and on the CPU, for writing."""
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }


def compare(
    path: Path, wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], exact: bool = False
) -> None:
    """Raises InputError, naming the first tensor that differs, if tensors are not those wanted.

    Names, shapes and types must agree, and entries be finite. exact: types must be equal, rather
    than both floating.
    """
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise InputError(f"{path}: the tensor '{name}' of its network is missing.")
        if name not in wanted:
            raise InputError(f"{path}: found a tensor '{name}', which its network does not have.")
        if (have := tuple(tensors[name].shape)) != (want := tuple(wanted[name].shape)):
            raise InputError(
                f"{path}: '{name}' has shape {have}; accepted: {want}, as in its network."
            )
        if tensors[name].dtype != wanted[name].dtype and (
            exact or not tensors[name].is_floating_point()
        ):
            raise InputError(
                f"{path}: '{name}' is {tensors[name].dtype}; accepted: {wanted[name].dtype}, as in "
                "its network."
            )
        if not is_finite(tensors[name]):
            raise InputError(f"{path}: '{name}' has entries that are not finite.")
