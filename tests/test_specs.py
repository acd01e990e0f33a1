"""What contradicts itself is rejected, with the key, what was found, and what is accepted."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from degradations import InputError
from study.sampling import nfe
from study.specs import CalibrateSpec, MatrixSpec, NetworkSpec, SamplerSpec, SearchSpec, StudySpec
from study.specs.serialisation import spec_from_json, spec_to_json
from tests.contradictions import CONTRADICTIONS, EULER, MANY, TWICE, Study, named


@pytest.mark.parametrize(
    ("make", "given", "key", "found", "wanted"),
    CONTRADICTIONS,
    ids=[f"{c[2]}={c[3]}" for c in CONTRADICTIONS],
)
def test_a_contradiction_is_rejected(
    make: Callable[..., Any], given: dict[str, Any], key: str, found: str, wanted: str
) -> None:
    with pytest.raises(InputError) as rejected:
        make(**given)
    said_found, said_wanted = str(rejected.value).split("; accepted: ", 1)
    assert said_found.startswith(f"{key}: found ")
    assert found in said_found
    assert wanted in said_wanted


ACCEPTED = [
    (SearchSpec, {"weight": (0.0, 1.0), "design": ()}),
    (SearchSpec, {"weight": (1.5, 3.0), "method": "grid", "design": ()}),
    (SearchSpec, {"weight": (0.0, 2.0)}),
    (SearchSpec, {"tolerance": 0.05}),
    (SearchSpec, {"method": "gp", "interval": (0.1, 5.0), "strength": (0.1, 0.5)}),
    (SearchSpec, {"method": "gp", "interval": (0.1, 5.0), "guides": ("noise(0.3)",)}),
    (named, {"sampler": EULER, "search": SearchSpec(budget=40)}),
    (named, {"search": SearchSpec(budget=4 * 63)}),
    (
        Study,
        {
            "matrix": MatrixSpec(tested=("noise",)),
            "calibrate": CalibrateSpec(kinds=("noise", "dropout")),
        },
    ),
    (CalibrateSpec, {"levels": (1.1,)}),
    (NetworkSpec, {"width": 66}),
    (SearchSpec, {"samples": 10_000_000}),
    (StudySpec, {"name": "a" + "ü" * 99, "base": "digits"}),
    (Study, {"pairings": MANY[1:]}),
]


@pytest.mark.parametrize(("make", "given"), ACCEPTED)
def test_what_lies_just_within_is_accepted(make: Callable[..., Any], given: dict[str, Any]) -> None:
    made = make(**given)
    assert {key: getattr(made, key) for key in given} == given


def test_weights_are_a_grid_onto_which_any_number_snaps() -> None:
    weights = SearchSpec().weights
    assert (len(weights), weights[0], weights[1], weights[-1]) == (61, 0.5, 0.55, 3.5)
    for weight, snapped in [(1.52, 1.5), (1.53, 1.55), (0.0, 0.5), (9.0, 3.5)]:
        assert SearchSpec().snap(weight) == snapped
    # to the last bit: a tenth is no binary fraction
    assert 1.0 in SearchSpec(weight=(0.0, 3.5), step=0.1).weights


def test_evaluations_are_counted_by_the_solver() -> None:
    assert (nfe(EULER), nfe(SamplerSpec()), nfe(SamplerSpec(), 64)) == (10, 63, 127)


def test_a_spec_survives_json() -> None:
    spec = Study(
        pairings=TWICE[:1],
        sampler=EULER,
        matrix=MatrixSpec(tested=("noise",)),
        calibrate=CalibrateSpec(kinds=("noise",)),
        search=SearchSpec(method="gp", interval=(0.1, 5.0), budget=80),
    )
    for each in (spec, Study()):
        assert spec_from_json(json.loads(json.dumps(spec_to_json(each), allow_nan=False))) == each
