"""Plug-ins: degradations, rules, solvers, extractors, data sets, networks, objectives of others."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from degradations.errors import InputError
from study.files.plugins import LOADED, content_of, require_permission

GROUP = "degradation_study.plugins"  # of entry points


def load(paths: Sequence[str]) -> None:
    """Run the plug-ins of a config, each once, after those that are installed as packages.

    Raises InputError if they may not run, if one fails, or if it registers a name that is taken.
    """
    load_installed()
    found = {Path(path): content_of(Path(path)) for path in paths}
    new = {path: each for path, each in found.items() if LOADED.get(str(path)) != each[1]}
    require_permission({path: digest for path, (_, digest) in new.items()})
    for path, (content, digest) in new.items():

        def run(path: Path = path, content: bytes = content, digest: str = digest) -> None:
            module = ModuleType(f"study_plugin_{path.stem}_{digest[:8]}")
            module.__file__ = str(path)
            sys.modules[module.__name__] = module  # where dataclasses look for their module
            exec(compile(content, str(path), "exec"), vars(module))

        _run(str(path), run)
        LOADED[str(path)] = digest


@cache
def load_installed() -> None:
    """Run the plug-ins of installed packages, by their entry points."""
    for point in entry_points(group=GROUP):
        _run(f"{point.name} ({point.value})", point.load)
        made_by = point.dist
        LOADED[point.name] = f"{made_by.name} {made_by.version}" if made_by else point.value


def _run(name: str, run: Callable[[], Any]) -> None:
    before = dict(_registered())
    try:
        run()
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever a program of others may raise, SystemExit too
        raise InputError(
            f"plugins: {name}: fails to load ({type(error).__name__}: {str(error)[:200]})."
        ) from error
    for key, made in _registered():
        if key in before and before[key] is not made:
            family, taken = key
            raise InputError(
                f"plugins: {name}: registers the {family} '{taken}', a name that is taken."
            )


def _registered() -> Iterator[tuple[tuple[str, str], Any]]:
    """Everything that has a name, by its family and name."""
    from degradations import kinds, rules
    from study.data import DATA
    from study.metrics.extractor_names import extractors
    from study.models import networks, preconditionings
    from study.sampling.grids.grid import grids
    from study.sampling.solver import solvers
    from study.training import objectives

    families: Mapping[str, Mapping[str, Any]] = {
        "degradation": kinds(),
        "rule": rules(),
        "solver": {name: type(solver) for name, solver in solvers().items()},
        "grid": grids(),
        "extractor": extractors(),
        "data set": DATA,
        "network": networks(),
        "preconditioning": preconditionings(),
        "objective": objectives(),
    }
    for family, members in families.items():
        for name, member in members.items():
            yield (family, name), member
