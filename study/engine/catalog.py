"""The available members of each family: degradations, rules, solvers, extractors, bases, …"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from degradations import Schedule, kinds, rules
from study.checkpoints import CARD, public_cards
from study.checkpoints.cards import CARDS
from study.checkpoints.weights import SHIPPED
from study.data import DATA
from study.files.places import shipped_configs
from study.metrics import extractors
from study.models import ExactMixture
from study.sampling import grids, solvers
from study.training import objectives

TOP = Path(__file__).parents[2]
# `Karras et al. 2024`, `Salimans & Ho 2022`, within a docstring.
PAPER = re.compile(r"[A-Z][\w'’-]+(?: et al\.| (?:&|and) [A-Z][\w'’-]+)? (?:19|20)\d\d\b")


class Entry(NamedTuple):
    """A member of a family: name, form in a config, one line about it, paper or "", and file.

    view, needs: of a part of a rule, in which parametrisation it is defined and what the data or
    the sampler must have.
    """

    name: str
    form: str
    about: str
    paper: str
    file: str
    view: str = ""
    needs: str = ""


def entries(family: str) -> list[Entry]:
    """The members of a family, a key of FAMILIES."""
    return list(FAMILIES[family]())


def _of_class(name: str, form: str, made: Any, about: str | None = None) -> Entry:
    """The entry of a class or function; its line defaults to the first sentence of its file."""
    module = sys.modules[made.__module__]
    paper = PAPER.search(_text(made)) or PAPER.search(_text(module))
    said = about or _sentence(_text(module))
    return Entry(name, form, said, paper[0] if paper else "", _file(inspect.getfile(made)))


def _text(made: Any) -> str:
    """A docstring on one line."""
    return " ".join((inspect.getdoc(made) or "").split())


def _sentence(text: str) -> str:
    """The first sentence of a docstring, without the name before it: "`name`: sentence."."""
    text = re.sub(r"^`[^`]*`: ", "", text)
    return re.split(r"(?<! al)\. ", text, maxsplit=1)[0].rstrip(".") + "."


def _file(path: str | Path) -> str:
    found = Path(path).resolve()
    return str(found.relative_to(TOP) if found.is_relative_to(TOP) else found)


def _degradations() -> Iterator[Entry]:
    return (_of_class(name, kind.form(), kind) for name, kind in kinds().items())


def _rules() -> Iterator[Entry]:
    for name, part in rules().items():
        view = "any" if issubclass(part, Schedule) else part.view.name
        own = _of_class(name, part.form(), part, _sentence(_text(part)))
        yield own._replace(view=view, needs=", ".join(sorted(part.needs)))


def _solvers() -> Iterator[Entry]:
    for name, solver in solvers().items():
        yield _of_class(name, solver.form(), type(solver), _sentence(_text(solver)))


def _grids() -> Iterator[Entry]:
    for name, grid in grids().items():
        yield _of_class(name, grid.form(), grid, _sentence(_text(grid)))


def _extractors() -> Iterator[Entry]:
    for name, extractor in extractors().items():
        yield _of_class(name, name, extractor, _sentence(_text(extractor)))


def _objectives() -> Iterator[Entry]:
    for name, objective in objectives().items():
        yield _of_class(name, objective.form(), objective, _sentence(_text(objective)))


def _data() -> Iterator[Entry]:
    for name, load in DATA.items():
        yield _of_class(name, name, inspect.unwrap(load))


def _bases() -> Iterator[Entry]:
    yield _of_class("exact", "exact", ExactMixture, "The closed form of a data set that has one.")
    for path in sorted(SHIPPED.glob(f"*/{CARD}")):
        card = json.loads(path.read_text(encoding="utf-8"))
        if card["kind"] == "denoiser":
            share = f"{card['recipe'].get('samples', 1.0):.0%} of {card['data']}"
            about = f"Shipped, {card['parameters']:,} weights, trained on {share}."
            yield Entry(path.parent.name, path.parent.name, about, "", _file(path))
    for name, public in public_cards().items():
        score = "" if public.fid is None else f", published FID {public.fid}"
        about = f"Compared with {public.reference}{score}, {public.licence}."
        yield Entry(name, name, about, public.paper, _file(CARDS))


def _configs() -> Iterator[Entry]:
    for path in shipped_configs():
        first = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
        yield Entry(path.stem, path.stem, first, "", _file(path))


FAMILIES: dict[str, Callable[[], Iterator[Entry]]] = {
    "degradations": _degradations,
    "rules": _rules,
    "solvers": _solvers,
    "grids": _grids,
    "extractors": _extractors,
    "objectives": _objectives,
    "data": _data,
    "bases": _bases,
    "configs": _configs,
}
