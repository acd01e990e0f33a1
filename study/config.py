"""YAML and command-line overrides to specs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from degradations.errors import Refused
from study.specs import StudySpec


def add_spec(parser: ArgumentParser) -> None:
    """Arguments for every value of a study: `CONFIG`, then `--sampler.steps 64` and the like."""
    parser.add_argument("--config", action="config", help="the study's YAML; the same as CONFIG")
    parser.add_class_arguments(StudySpec, None, help="values of the config, each of which can be overridden")


def spec_parser() -> ArgumentParser:
    """A parser of a config and overrides alone."""
    parser = ArgumentParser(prog="study", exit_on_error=False)
    add_spec(parser)
    return parser


def to_spec(namespace: Namespace) -> StudySpec:
    """The spec of parsed arguments. Raises Refused for values that do not go together."""
    keys = StudySpec.__dataclass_fields__
    parser = spec_parser()
    made: Any = parser.instantiate(Namespace(**{k: v for k, v in vars(namespace).items() if k in keys}))  # type: ignore[no-untyped-call]
    return StudySpec(**{key: made[key] for key in keys})


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> StudySpec:
    """The study of a YAML file, with overrides as on the command line: `load_spec(path, ["--sampler.steps", "64"])`.

    Raises Refused for a missing file, unknown or missing keys and wrong types, naming the key.
    """
    if not Path(path).is_file():
        raise Refused(f"config '{path}': no such file.")
    try:
        return to_spec(spec_parser().parse_args(["--config", str(path), *overrides]))
    except ArgumentError as error:
        raise Refused(f"config '{path}': {error}") from None
