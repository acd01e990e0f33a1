"""Denoisers from published files: pickles of EDM and EDM2, and the files that `convert` writes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from degradations import InputError
from study.checkpoints.weights import MOST_CARD, compare, materialise, read_safetensors
from study.files.atomic import replacing, sha256, write_text
from study.files.pickles import Record, load, tensors
from study.files.regular import check_regular, read_json
from study.files.states import MOST_BYTES, read_state
from study.models.by_class import network_of_class
from study.models.preconditioning import Preconditioned

PICKLES, PLAIN, STATES = (".pkl", ".pickle"), (".safetensors",), (".pt", ".pth", ".ckpt")
# The names of a constructor's positional arguments, in order; further ones are always named.
SHARED = ("img_resolution", "img_channels", "label_dim", "use_fp16")
ORDER = {
    "Precond": (*SHARED, "sigma_data", "logvar_channels"),
    "EDMPrecond": (*SHARED, "sigma_min", "sigma_max", "sigma_data", "model_type"),
    "VPPrecond": (*SHARED, "beta_d", "beta_min", "M", "epsilon_t", "model_type"),
    "VEPrecond": (*SHARED, "sigma_min", "sigma_max", "model_type"),
    "iDDPMPrecond": (*SHARED, "C_1", "C_2", "M", "model_type"),
}


@dataclass(frozen=True)
class NetworkFile:
    """The content of a published file: class and arguments of its denoiser, and its weights.

    weights: the network's tensors by their published names; latents: whether its samples are
    latents of the EDM2 decoder.
    """

    class_name: str
    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    latents: bool

    def build(self, path: Path) -> Preconditioned:
        """The denoiser with its weights in fp32, in evaluation mode.

        Raises InputError, with the file's path, if the arguments are not valid or the weights are
        of another network, naming the first tensor that differs, before the network takes memory.
        """
        try:
            denoiser = network_of_class(self.class_name, self.arguments, empty=True)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        compare(path, denoiser.network.state_dict(), self.weights)
        materialise(denoiser.network, self.weights)
        return denoiser.eval().requires_grad_(False)


def is_network_file(path: Path) -> bool:
    """Whether a path has the suffix of a published file."""
    return path.suffix in (*PICKLES, *PLAIN, *STATES)


def read_network(path: Path) -> NetworkFile:
    """Read a pickle of EDM or EDM2, or weights with their card beside them.

    Weights are a safetensors file or a state dict of PyTorch. Nothing in a file is executed or
    imported. Raises InputError if files are missing, damaged, of other classes, or contain anything
    else.
    """
    check_regular(path, MOST_BYTES)
    return _of_pickle(path) if path.suffix in PICKLES else _of_plain(path)


def convert(source: Path, out: Path) -> Path:
    """Write the unchanged weights of a published file as safetensors, with a card beside them.

    Returns the card's path. Raises InputError if `source` cannot be read, or `out` has another
    suffix or is `source`.
    """
    if out.suffix not in PLAIN:
        raise InputError(
            f"{out}: found another suffix; accepted for converted weights: .safetensors."
        )
    if out.resolve() == source.resolve():
        raise InputError(
            f"{out}: this is the source; accepted: another file for the converted weights."
        )
    found = read_network(source)
    found.build(source)  # raises InputError if the result could not be read again
    with replacing(out) as part:
        save_file({name: tensor.contiguous() for name, tensor in found.weights.items()}, part)
    card = {
        "kind": "denoiser",
        "class": found.class_name,
        "arguments": dict(found.arguments),
        "latents": found.latents,
        "made_of": source.name,
        "made_of_sha256": sha256(source),
        "weights_sha256": sha256(out),
    }
    write_text(_card_of(out), json.dumps(card, indent=2) + "\n")
    return _card_of(out)


def _of_pickle(path: Path) -> NetworkFile:
    kept = load(path)
    ema = kept.get("ema") if isinstance(kept, dict) else None
    if not isinstance(ema, Record):
        raise InputError(
            f"{path}: found no network under 'ema'; accepted: pickles of EDM and EDM2."
        )
    if ema.name not in ORDER:
        raise InputError(
            f"{path}: found a network of class {ema.name}; accepted: {', '.join(ORDER)}."
        )
    inside = "unet." if ema.name == "Precond" else "model."
    # The rest, an estimate of uncertainty or a table of noise levels, is not part of the network.
    try:
        weights = {
            n.removeprefix(inside): t for n, t in tensors(ema).items() if n.startswith(inside)
        }
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    encoder = kept.get("encoder")
    latents = isinstance(encoder, Record) and encoder.name == "StabilityVAEEncoder"
    return NetworkFile(ema.name, _arguments(path, ema), weights, latents)


def _arguments(path: Path, ema: Record) -> dict[str, Any]:
    positional, named = ema.state.get("_init_args") or (), ema.state.get("_init_kwargs")
    order = ORDER[ema.name]
    if (
        not isinstance(named, dict)
        or not isinstance(positional, (tuple, list))
        or len(positional) > len(order)
    ):
        raise InputError(f"{path}: the network's record of its arguments is missing or not valid.")
    return dict(zip(order, positional, strict=False)) | named


def _of_plain(path: Path) -> NetworkFile:
    read = read_safetensors if path.suffix in PLAIN else read_state
    card_path = _card_of(path)
    if not card_path.is_file():
        read(path)  # errors in the file itself are reported first
        raise InputError(
            f"{path}: its card {card_path.name} is missing; `study convert` writes one, with the "
            "class and arguments of the network, beside the weights."
        )
    card = read_json(card_path, MOST_CARD, "not the card of a published network")
    try:
        class_name, arguments, latents = (
            card["class"],
            card["arguments"],
            card.get("latents", False),
        )
        if not (
            isinstance(class_name, str)
            and isinstance(arguments, dict)
            and isinstance(latents, bool)
        ):
            raise TypeError("class, arguments or latents of another type")
    except KeyError as error:
        raise InputError(
            f"{card_path}: not the card of a published network: {error} is missing."
        ) from None
    except (TypeError, AttributeError) as error:
        raise InputError(
            f"{card_path}: not the card of a published network ({str(error)[:200]})."
        ) from None
    digest = card.get("weights_sha256")
    if digest is not None and sha256(path) != digest:
        raise InputError(
            f"{path}: its SHA-256 is not that of its card, {str(digest)[:64]}; the file is damaged "
            "or another one."
        )
    return NetworkFile(class_name, arguments, read(path), latents)


def _card_of(path: Path) -> Path:
    return path.with_suffix(".json")
