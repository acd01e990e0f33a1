"""Base denoisers, by name, by folder, or in closed form."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from degradations import Denoiser, Refused
from study.checkpoints.weights import Card, fill, find
from study.data import Data, load_data
from study.models import EDM, PatchTransformer, ResidualMLP
from study.specs import NetworkSpec, RecipeSpec


@dataclass(frozen=True)
class Base:
    """A denoiser with its data set, the hash of its weights, and its recipe where that is known."""

    name: str
    denoiser: Denoiser
    data: Data
    sha256: str
    recipe: RecipeSpec | None = None

    @property
    def held_out(self) -> Data | None:
        """The part of the data that it was not trained on; None where it was trained on all, or none knows."""
        rest = None if self.recipe is None else self.data.split(self.recipe.samples)[1]
        return rest if rest is not None and len(rest.samples) else None


def build(network: NetworkSpec, data: Data, sigma_data: float) -> EDM:
    """An untrained denoiser for a data set. Raises Refused for a transformer of data that its patches do not fill."""
    sizes = asdict(network)
    kind, heads, patch = sizes.pop("kind"), sizes.pop("heads"), sizes.pop("patch")
    if kind == "transformer":
        return EDM(PatchTransformer(data.shape, data.classes, **sizes, heads=heads, patch=patch), sigma_data)
    return EDM(ResidualMLP(math.prod(data.shape), data.classes, **sizes), sigma_data)


def load_base(name: str | Path, data: str) -> Base:
    """The base of a shipped card's name, of a folder, or `exact`: the closed form of a data set.

    Raises Refused where there is none, where it is damaged, or where its data set is not `data`.
    """
    if name == "exact":
        loaded = load_data(data)
        if loaded.exact is None:
            raise Refused(f"base 'exact': the data set '{data}' has no density in closed form.")
        return Base("exact", loaded.exact, loaded, f"exact:{data}")
    card = find(name, "denoiser")
    trained_on = card.get("data", str)
    if trained_on != data:
        raise Refused(f"{card.folder}: a denoiser of '{trained_on}', the study's data set is '{data}'.")
    loaded = load_data(trained_on)
    sigma_data = card.get("sigma_data", float)
    if not 0 < sigma_data < float("inf"):
        raise Refused(f"{card.folder}: the card's sigma_data is {sigma_data}, a number above 0 is wanted.")
    denoiser = build(_network(card), loaded, sigma_data)
    recipe = recipe_of(card) if "recipe" in card.entries else None
    return Base(str(name), denoiser, loaded, fill(denoiser, card), recipe)


def recipe_of(card: Card) -> RecipeSpec:
    """The recipe on a card, as far as it says one."""
    entries = dict(card.get("recipe", dict))
    entries["network"] = _network(card)
    try:
        return RecipeSpec(**entries)
    except TypeError as error:
        raise Refused(f"{card.folder}: the card's recipe is not one ({error}).") from None


def _network(card: Card) -> NetworkSpec:
    try:
        return NetworkSpec(**card.get("network", dict))
    except TypeError as error:
        raise Refused(f"{card.folder}: the card's network is not one ({error}).") from None
