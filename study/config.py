"""YAML and command-line overrides to specs."""

import re
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser, Namespace, get_loader, set_loader

from degradations.errors import Refused
from study.specs import StudySpec


def _load(text: str) -> Any:
    """YAML in which `search: grid` is short for `search: {method: grid}`."""
    found = get_loader("yaml")(text)
    if isinstance(found, dict) and isinstance(found.get("search"), str):
        found["search"] = {"method": found["search"]}
    return found


set_loader("study", _load)


def add_spec(parser: ArgumentParser) -> None:
    """Arguments for every value of a study: `CONFIG`, then `--sampler.steps 64` and the like."""
    parser.parser_mode = "study"
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
    from study.checkpoints.names import canonical  # late: PyTorch takes a second

    pairings = tuple(replace(p, main=canonical(p.main), guide=canonical(p.guide)) for p in made["pairings"])
    search = replace(made["search"], guides=tuple(map(canonical, made["search"].guides)))
    return StudySpec(**{**{key: made[key] for key in keys}, "pairings": pairings, "search": search})


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> StudySpec:
    """The study of a YAML file, with overrides as on the command line: `load_spec(path, ["--sampler.steps", "64"])`.

    Raises Refused for a missing file, unknown or missing keys and wrong types, naming the key.
    """
    check_file(path)
    try:
        return to_spec(spec_parser().parse_args(["--config", str(path), *overrides]))
    except ArgumentError as error:
        raise Refused(f"config '{path}': {explain(error)}") from None


def check_file(path: str | Path) -> None:
    """Raises Refused unless there is a file that holds keys and values."""
    import yaml

    if not Path(path).is_file():
        raise Refused(f"config '{path}': no such file.")
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"config '{path}': not YAML: {error}") from None
    if not isinstance(found, dict):
        raise Refused(
            f"config '{path}': keys with values are wanted, found {'nothing' if found is None else repr(found)}."
        )
    for key, type_ in get_type_hints(StudySpec).items():
        short = key == "search" and isinstance(found.get(key), str)
        if is_dataclass(type_) and not short and not isinstance(found.get(key, {}), dict):
            raise Refused(f"config '{path}': {key}: found {found[key]!r}, wanted keys with values.")


def explain(error: Exception) -> str:
    """A parser's message in plain words, with the keys that may have been meant."""
    text = re.sub(r"<class '(\w+)'>", r"\1", str(error)).replace('Parser key "', 'key "')
    unknown = re.search(r"(?:Option|option|arguments:) (?:'|--)([\w.]+)", text)
    if unknown:
        key = unknown[1].rsplit(".", 1)[-1]
        known = {leaf.rsplit(".", 1)[-1]: leaf for leaf in _keys(StudySpec)}
        close = [known[name] for name in get_close_matches(key, known, n=3)]
        text += f". Did you mean {' or '.join(close)}?" if close else ". `study run --help` lists the keys."
    return text


def _keys(spec: Any, prefix: str = "") -> list[str]:
    """The keys of a spec and of those within it, with dots."""
    found = []
    for key, type_ in get_type_hints(spec).items():
        inner = type_ if is_dataclass(type_) else next((t for t in get_args(type_) if is_dataclass(t)), None)
        found += [prefix + key, *(_keys(inner, f"{prefix}{key}.") if inner else [])]
    return found
