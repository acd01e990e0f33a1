"""Specs to plain JSON and YAML values and back."""

import math
from dataclasses import asdict
from typing import Any

import yaml

from study.specs.study import StudySpec
from study.specs.typed import typed


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """A spec as plain JSON values, with lists for tuples, and texts for infinite numbers."""
    found: dict[str, Any] = _plain(asdict(spec), infinite=repr)
    return found


def spec_to_yaml(spec: StudySpec) -> str:
    """A spec as a config that every command accepts."""
    text: str = yaml.safe_dump(_plain(asdict(spec)), sort_keys=False, allow_unicode=True)
    return text


def spec_from_json(kept: dict[str, Any]) -> StudySpec:
    """The spec of a result of `spec_to_json`, also of an earlier version with fewer keys."""
    spec: StudySpec = typed(StudySpec, kept, "")
    return spec


def _plain(value: Any, infinite: Any = float) -> Any:
    """Tuples as lists, which YAML and JSON have."""
    if isinstance(value, dict):
        return {key: _plain(each, infinite) for key, each in value.items()}
    if isinstance(value, float) and math.isinf(value):
        return infinite(value)
    return [_plain(each, infinite) for each in value] if isinstance(value, list | tuple) else value
