"""Specs from a YAML file and the overrides of the command line."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from degradations.errors import InputError
from study.files.places import shipped_configs
from study.specs import StudySpec
from study.specs.checks import shown, shown_key
from study.specs.typed import group_of, hints, keys_of, meant, reject, typed, unknown_key
from study.specs.yaml_text import MOST_BYTES, read_yaml

SUFFIXES = (".yaml", ".yml")
MOST_DOTS = 4  # in a key; no valid key has more


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> StudySpec:
    """The study of a YAML file, with overrides as on the command line.

    Example: `load_spec(path, ["--sampler.steps", "64"])`. Raises InputError for a missing file,
    invalid YAML, unknown, repeated and missing keys, wrong types and inconsistent values, with the
    file, the key, the value found and the values accepted.
    """
    values = read_config(path)
    for key, text in _pairs(overrides):
        _put(values, key, _given(key, text))
    return spec_of_values(values, f"config '{path}'")


def spec_of_values(values: dict[str, Any], where: str) -> StudySpec:
    """The study of keys and values; where: their place, for messages. Raises InputError."""
    try:
        spec = typed(StudySpec, values, "")
        from study.checkpoints.denoiser_names import canonical_spec  # late: PyTorch takes a second
        from study.cli.plugins import load

        load(spec.plugins)  # names may be theirs
        return canonical_spec(spec)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def read_config(path: str | Path) -> dict[str, Any]:
    """The keys and values of a file, with types unchecked. Raises InputError if there are none."""
    try:
        found = read_yaml(_text(_find(Path(path))))
        if not isinstance(found, dict):
            raise InputError(
                f"found {'nothing' if found is None else shown(found)}; accepted: keys with values."
            )
        values: dict[str, Any] = {}
        for key, value in found.items():
            _put(values, key, value, new=True)
    except InputError as error:
        raise InputError(f"config '{path}': {error}") from None
    return values


def is_key(option: str) -> bool:
    """Whether a command-line option, `--sampler.steps` or `--sampler.steps=64`, is a config key."""
    return option.startswith("--") and _words(option)[0].split(".")[0] in hints(StudySpec)


def _find(path: Path) -> Path:
    """The file of a path, or of the name of a config included in the project."""
    shipped = {each.stem: each for each in shipped_configs()}
    return path if os.path.isfile(path) else shipped.get(str(path), path)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise InputError(f"no such file.{_meant_file(path)}")
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are read.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text ({error.reason} at byte {error.start}).") from None
    # a name that is too long or contains NUL; no permission
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def _meant_file(path: Path) -> str:
    """A suggested config: an included one, or a similar name in the folder or in configs/."""
    if not path.suffix and path.parent == Path():
        return meant(str(path), [each.stem for each in shipped_configs()])
    if path.stem in (each.stem for each in shipped_configs()):
        return f" Did you mean {path.stem}?"
    folders = [path.parent, Path("configs")] if path.parent == Path() else [path.parent]
    names = [
        str(each)
        for folder in folders
        if folder.is_dir()
        for each in folder.iterdir()
        if each.suffix in SUFFIXES
    ]
    wanted = path if path.suffix in SUFFIXES else path.with_name(f"{path.name}.yaml")
    exact = next((each for each in names if Path(each).name == wanted.name), None)
    return f" Did you mean {exact}?" if exact else meant(str(wanted), names)


def _pairs(overrides: Sequence[str]) -> list[tuple[str, str]]:
    """The keys and texts of `--key value` and `--key=value`. Raises InputError for anything
    else."""
    found, words = [], list(overrides)
    while words:
        word = words.pop(0)
        key, text = _words(word)
        if not word.startswith("--"):
            raise InputError(
                f"'{shown_key(word)}': accepted: --KEY VALUE, such as --sampler.steps 64."
            )
        if text is None:
            if not words or words[0].startswith("--"):
                raise InputError(f"--{key}: no value; accepted: --{key} VALUE.")
            text = words.pop(0)
        found.append((key, text))
    return found


def _words(option: str) -> tuple[str, str | None]:
    key, equals, text = option.removeprefix("--").partition("=")
    return key, text if equals else None


def _given(key: str, text: str) -> Any:
    """The value of an override, of the key's type, or the keys and values of a group of keys."""
    type_, before = StudySpec, ""
    for name in key.split("."):
        known = hints(group_of(type_)) if group_of(type_) else {}
        if name not in known:
            elsewhere = [f"--{each}" for each in keys_of(StudySpec)] if not before else []
            said = unknown_key(name, list(known), f"--{before}", elsewhere) if known else ""
            raise InputError(f"--{shown_key(key)}: no such option. {said}".rstrip())
        type_, before = known[name], f"{before}{name}."
    if text in ("null", "~") and NoneType in get_args(type_):
        return None
    if group_of(type_) is None:
        typed(type_, text, f"--{key}")  # raises InputError with the option as it was given
        return text
    found = {"method": text} if key == "search" and text.isidentifier() else read_yaml(text)
    return found if isinstance(found, dict) else reject(group_of(type_), text, f"--{key}")


def _put(values: dict[str, Any], key: str, value: Any, new: bool = False, before: str = "") -> None:
    """Set the value of a key such as `sampler.steps`; `search: grid` is short for its method.

    before: the path of `values`, for messages. Raises InputError for a key within a value that is
    not a group, and, if new, for a repeated key.
    """
    first, dot, rest = key.partition(".") if key.count(".") <= MOST_DOTS else (key, "", "")
    if key == "search" and isinstance(value, str):
        value = {"method": value}
    if not dot and not isinstance(value, dict):
        if new and first in values:
            raise InputError(f"{before}{shown_key(key)}: given twice.")
        values[first] = value
        return
    if values.get(first) is None:
        values[
            first
        ] = {}  # a new dictionary, as an alias of the file may be used in several places
    if not isinstance(values[first], dict):
        raise InputError(
            f"{before}{shown_key(first)}: found {shown(values[first])}; accepted: keys with values."
        )
    for name, each in ({rest: value} if dot else value).items():
        _put(values[first], name, each, new, f"{before}{first}.")
