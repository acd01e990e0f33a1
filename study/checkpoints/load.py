"""Base denoisers by name, by folder, or in closed form."""

import math
import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from degradations import Denoiser, InputError
from study.checkpoints.cards import public_cards
from study.checkpoints.network_files import NetworkFile, is_network_file, read_network
from study.checkpoints.weights import WEIGHTS, Card, fill, find
from study.data import DATA, Data, is_here, load_data
from study.files.atomic import sha256
from study.files.cache import obtain
from study.models import Preconditioned, networks, preconditionings
from study.models.by_class import network_of_class
from study.models.decoder import Decoder
from study.specs import NetworkSpec, RecipeSpec

Precision = Literal["auto", "fp32", "fp16", "bf16"]
SPARE_BYTES = 10**8  # by which a network may exceed the size of its file
CACHE = "cache"  # the folder of public files, in the root


@dataclass(frozen=True)
class Base:
    """A denoiser with its data set, the hash of its weights, and its recipe if that is known.

    The data set of a public checkpoint has a shape and a number of classes, but no samples. If the
    denoiser's samples are latents, they are those of the EDM2 decoder, or the base has a decoder of
    its own. precision: of the network on an accelerator, unless another is given. sigma_max: the
    highest supported noise level, above which a study is rejected; the range that samplers keep to
    is the denoiser's own (`Denoiser.levels`). classifier_sha256: of the weights of its classifier
    of noisy samples, if there is one.
    """

    name: str
    denoiser: Denoiser
    data: Data
    sha256: str
    recipe: RecipeSpec | None = None
    latents: bool = False
    decoder: Decoder | None = None
    precision: Precision = "fp32"
    sigma_max: float = math.inf
    classifier_sha256: str | None = None

    @property
    def held_out(self) -> Data | None:
        """The part of the data that it was not trained on.

        None if it was trained on all of the data, or this is not known.
        """
        rest = self._parts[1]
        return rest if rest is not None and len(rest.samples) else None

    @property
    def trained_on(self) -> Data | None:
        """The part of the data that it was trained on; None if that is not known."""
        return self._parts[0]

    @property
    def _parts(self) -> tuple[Data | None, Data | None]:
        if self.recipe is None or not len(self.data.samples):
            return None, None
        return self.data.split(self.recipe.samples, self.recipe.split)


def build(
    network: NetworkSpec, data: Data, sigma_data: float, preconditioning: str = "edm"
) -> Preconditioned:
    """An untrained denoiser for a data set.

    Raises InputError if the network or preconditioning is unknown or does not fit the data's shape.
    """
    for key, found, known in (
        ("recipe.network.kind", network.kind, networks()),
        ("recipe.preconditioning", preconditioning, preconditionings()),
    ):
        if found not in known:
            raise InputError(f"{key}: found '{found}'; accepted: {', '.join(known)}.")
    kind, wrapper = networks()[network.kind], preconditionings()[preconditioning]
    if wrapper.gives_time and not kind.takes_time:
        fitting = (name for name, each in networks().items() if each.takes_time)
        raise InputError(
            f"recipe.preconditioning: found {preconditioning} with the network {network.kind}, "
            f"which is given times of up to 1000 by it; accepted: with {', '.join(fitting)}."
        )
    return wrapper.of(kind.of(network, data.shape, data.classes), sigma_data)


def of_recipe(recipe: RecipeSpec, data: Data) -> Preconditioned:
    """The untrained denoiser of a recipe. Raises InputError as `build` does."""
    return build(recipe.network, data, recipe.sigma_data, recipe.preconditioning)


def load_base(name: str | Path, data: str | None, root: Path = Path("mlruns")) -> Base:
    """The base of a name: `exact`, a card, a folder, a published file, or `hub:org/name`.

    `exact` is the closed form of a data set; a card is that of a shipped or a public checkpoint; a
    folder is ours or in diffusers' format; `hub:org/name` is a repository of diffusers. Public
    files are looked up in root/cache, and downloaded there. data: None accepts any data set. Raises
    InputError if there is none, if it is damaged or malicious, or if it was trained here on another
    data set than `data`.
    """
    if name == "exact" and data is None:
        raise InputError("base 'exact': has no held-out data; accepted: a base trained on a part.")
    if name == "exact":
        loaded = load_data(data, root / CACHE)
        if loaded.exact is None:
            raise InputError(f"base 'exact': the data set '{data}' has no density in closed form.")
        return Base("exact", loaded.exact, loaded, f"exact:{data}")
    if is_external(name):
        return _public(str(name), root)
    close = get_close_matches(str(name), public_cards(), n=1, cutoff=0.85)
    if close and not Path(name).exists():
        raise InputError(f"'{name}': no checkpoint of this name; did you mean {close[0]}?")
    card = find(name, "denoiser")
    trained_on = card.get("data", str)
    if data in DATA and trained_on != data:
        raise InputError(
            f"{card.folder}: found a denoiser of '{trained_on}'; accepted: one of the study's data "
            f"set, '{data}'."
        )
    loaded = data_of(card, root)
    sigma_data = card.get("sigma_data", float)
    if not 0 < sigma_data < float("inf"):
        raise InputError(
            f"{card.folder}: found sigma_data {sigma_data} in the card; accepted: a number above 0."
        )
    network, weights = _network(card), card.folder / WEIGHTS
    # checked before the network takes memory
    if weights.is_file() and 4 * network.weights > weights.stat().st_size + SPARE_BYTES:
        raise InputError(
            f"{weights}: too small for the network of its card, which has {network.weights:,} "
            "weights."
        )
    recipe = recipe_of(card) if "recipe" in card.entries else None
    denoiser = build(network, loaded, sigma_data, recipe.preconditioning if recipe else "edm")
    return Base(str(name), denoiser, loaded, fill(denoiser, card), recipe)


def data_of(card: Card, root: Path) -> Data:
    """The data set that a card's network was trained on, as far as it is needed.

    Of data from outside, the card has the shape and the number of classes: if they are not here,
    they have no samples, as those of a public checkpoint. Raises InputError if those that are here
    are not the ones on the card.
    """
    name = card.get("data", str)
    if "data_sha256" not in card.entries:
        return load_data(name)
    digest, shape = card.get("data_sha256", str), card.get("shape", list)
    if is_here(name, root / CACHE):
        found = load_data(name, root / CACHE)
        if found.digest != digest:
            raise InputError(
                f"{card.folder}: was trained on other content of '{name}'; accepted: data whose "
                f"SHA-256 is {digest[:16]}…, found {found.digest[:16]}…."
            )
        return found
    return Data(name, torch.empty(0, *shape), classes=card.get("classes", int), digest=digest)


def is_external(name: str | Path) -> bool:
    """Whether a name is that of a public checkpoint.

    That is a public card, a published file, or a folder or repository of diffusers.
    """
    text, path = str(name), Path(name)
    parts = ("model_index.json", "config.json", "unet/config.json", "transformer/config.json")
    # called for every name of a study, so os.path, which is fast
    folder = os.path.isdir(text) and any((path / each).is_file() for each in parts)
    return text in public_cards() or text.startswith("hub:") or is_network_file(path) or folder


def _public(name: str, root: Path) -> Base:
    if name in public_cards():
        return _of_file(name, obtain(public_cards()[name].file, root / CACHE))
    if is_network_file(Path(name)):
        return _of_file(name, Path(name))
    from study.models.diffusers import load_diffusers

    found = load_diffusers(name, root / CACHE)
    data = Data(name, torch.empty(0, *found.shape), classes=found.classes)
    return Base(
        name, found.denoiser, data, found.sha256, decoder=found.decoder, sigma_max=found.sigma_max
    )


def _of_file(name: str, path: Path) -> Base:
    known = path.stat() if path.is_file() else None
    return _read(name, path, known and known.st_mtime_ns)


def blank(name: str, **changed: Any) -> Base:
    """The base of a public card as from `load_base`, but with random weights.

    For what does not depend on weights. changed: arguments of its network that replace the card's.
    """
    card = public_cards()[name]
    arguments = {**card.arguments, **changed}
    found = NetworkFile(card.class_name, arguments, {}, card.latents)
    return _base(name, found, network_of_class(card.class_name, arguments), "")


@lru_cache(maxsize=2)
def _read(name: str, path: Path, changed: int | None) -> Base:
    """The base of a published file, cached because main, guide and checks ask for it repeatedly.

    changed: the file's modification time.
    """
    found = read_network(path)
    return _base(name, found, found.build(path), sha256(path))


def _base(name: str, found: NetworkFile, denoiser: Denoiser, digest: str) -> Base:
    arguments = found.arguments
    shape = arguments["img_channels"], *[arguments["img_resolution"]] * 2
    data = Data(name, torch.empty(0, *shape), classes=arguments.get("label_dim", 0))
    half = arguments.get("use_fp16", found.class_name == "Precond")  # EDM2's default; EDM's is fp32
    return Base(
        name,
        denoiser.eval().requires_grad_(False),
        data,
        digest,
        latents=found.latents,
        precision="fp16" if half else "fp32",
    )


def recipe_of(card: Card) -> RecipeSpec:
    """The recipe on a card, as far as the card contains one."""
    entries = dict(card.get("recipe", dict))
    entries["network"] = _network(card)
    try:
        return RecipeSpec(**entries)
    except (TypeError, InputError) as error:
        raise InputError(f"{card.folder}: the card's recipe is not valid ({error}).") from None


def _network(card: Card) -> NetworkSpec:
    entries = card.get("network", dict)
    try:
        return NetworkSpec(**entries)
    except (TypeError, InputError) as error:
        raise InputError(f"{card.folder}: the card's network is not valid ({error}).") from None
