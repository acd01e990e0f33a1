"""Degradation studies of guidance in diffusion models, from Python.

`run` makes a study, also of a denoiser in memory; `read` gives the results of one. Imports are
late, as those of PyTorch and of the search take seconds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Denoiser
    from study.data import Data
    from study.results import StudyFrames
    from study.specs import StudySpec

    Samples: TypeAlias = str | Data | Tensor | tuple[Tensor, Tensor]


def run(
    spec: "StudySpec | str | Path | Mapping[str, Any]",
    base: "Denoiser | None" = None,
    data: "Samples | None" = None,
    root: str | Path = "mlruns",
    allow_plugins: bool = False,
) -> "StudyFrames":
    """Run or resume a study in this process, and return its results as data frames.

    spec: a spec, a config's path, or its keys and values. base: a denoiser in memory, such as that
    of `study.models.wrap`, in place of the spec's; data: what its samples are compared with, unless
    the spec's reference is held in files: a data set, a name as in `recipe.data`, samples [N, …],
    or those with their labels [N]; by default those of the spec's reference. allow_plugins:
    whether the plug-ins that the spec names may run. Raises InputError for
    a spec that is not valid, and for a denoiser whose output has another shape than the data.
    """
    from study.engine.check import evaluator_of
    from study.engine.in_memory import base_in_memory, spec_in_memory
    from study.engine.run import run as run_study
    from study.files.plugins import Permission
    from study.results import read as read_study

    Permission.granted = allow_plugins
    found, place = _spec(spec, base is not None), Path(root)
    evaluator = None
    if base is not None:
        own = base_in_memory(base, data, found, place)
        found = spec_in_memory(found, own)
        evaluator = evaluator_of(found, place, own=own)
    elif data is not None:
        from degradations import InputError

        raise InputError("study.run: found data without a base; accepted: recipe.data in the spec.")
    run_study(found, place, evaluator=evaluator)
    return read_study(found.name, place)


def read(name: str, root: str | Path = "mlruns") -> "StudyFrames":
    """A finished or running study as data frames. Raises InputError if there is no such study."""
    from study.results import read as read_study

    return read_study(name, root)


def _spec(spec: "StudySpec | str | Path | Mapping[str, Any]", has_base: bool) -> "StudySpec":
    from study.specs import StudySpec

    if isinstance(spec, StudySpec):
        return spec
    from study.cli.config import read_config, spec_of_values

    if isinstance(spec, str | Path):
        values, where = read_config(spec), f"config '{spec}'"
    else:
        values, where = dict(spec), "study.run"
    if has_base:  # what is said of a base that a recipe trains does not hold
        values = {**values, "base": "in-memory", "bases": []}
    return spec_of_values(values, where)
