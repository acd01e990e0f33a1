"""Specs to plain JSON and YAML values and back."""

from dataclasses import asdict
from typing import Any

import yaml

from study.specs import (
    CalibrateSpec,
    ConfirmSpec,
    MatrixSpec,
    NetworkSpec,
    PairingSpec,
    ProbeSpec,
    RecipeSpec,
    SamplerSpec,
    SearchSpec,
    StudySpec,
)


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """A spec as plain JSON values, with lists for tuples."""
    found: dict[str, Any] = _lists(asdict(spec))
    # may be infinite, which JSON cannot express
    found["sampler"]["churn_max"] = repr(spec.sampler.churn_max)
    return found


def spec_to_yaml(spec: StudySpec) -> str:
    """A spec as a config that every command accepts."""
    text: str = yaml.safe_dump(_lists(asdict(spec)), sort_keys=False, allow_unicode=True)
    return text


def _lists(value: Any) -> Any:
    """Tuples as lists, which YAML has."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value


def spec_from_json(kept: dict[str, Any]) -> StudySpec:
    """The spec of a result of `spec_to_json`."""
    inner = {
        "sampler": SamplerSpec,
        "search": SearchSpec,
        "confirm": ConfirmSpec,
        "calibrate": CalibrateSpec,
        "matrix": MatrixSpec,
        "probe": ProbeSpec,
    }
    kept = {
        **kept,
        "sampler": {**kept["sampler"], "churn_max": float(kept["sampler"]["churn_max"])},
    }
    made: dict[str, Any] = {key: _tuples(value) for key, value in kept.items()}
    made |= {
        key: type_(**_tuples(kept[key]))
        for key, type_ in inner.items()
        if kept.get(key) is not None
    }
    made["recipe"] = RecipeSpec(
        **{**kept["recipe"], "network": NetworkSpec(**kept["recipe"]["network"])}
    )
    made["pairings"] = tuple(PairingSpec(**pairing) for pairing in kept["pairings"])
    return StudySpec(**made)


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples."""
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
