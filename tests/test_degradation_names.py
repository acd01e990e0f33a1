"""Names of degradations, read and written."""

import math
from dataclasses import replace

import numpy as np
import pytest

from degradations import (
    Composition,
    Degradation,
    Dropout,
    Identity,
    InputError,
    InputNoise,
    Quantize,
    Turned,
    WeightNoise,
    family,
    parse,
)
from study.records.task import kind_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Identity()),
        (" dropout ( 0.2 ) ", Dropout(0.2)),
        ("noise(1e+2)", InputNoise(100)),
        ("quantize(inf)", Quantize(math.inf)),
        ("weight-noise(0.1, seed=1)", WeightNoise(0.1, seed=1)),
        ("weight-noise(0.1,seed = 0)", WeightNoise(0.1)),
        ("turned(2, angle=-30.5)", Turned(2, -30.5)),
        (
            "noise(1e+2)+dropout(+0.2) + turned(1, angle=3e+1)",
            Composition((InputNoise(100), Dropout(0.2), Turned(1, 30))),
        ),
    ],
)
def test_names_are_read(text: str, expected: Degradation) -> None:
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("degradation", "name"),
    [
        (Dropout(0.2), "dropout(0.2)"),
        (InputNoise(4.0), "noise(4)"),
        (InputNoise(0.1 + 0.2), "noise(0.30000000000000004)"),
        (InputNoise(1e-7), "noise(1e-07)"),
        (InputNoise(-0.0), "noise(0)"),
        (InputNoise(np.float64(0.1)), "noise(0.1)"),
        (Quantize(math.inf), "quantize(inf)"),
        (WeightNoise(0.1, seed=0), "weight-noise(0.1)"),
        (WeightNoise(0.1, seed=12), "weight-noise(0.1, seed=12)"),
        (Turned(2, 30), "turned(2, angle=30)"),
        (Identity(), "none"),
    ],
)
def test_names_are_short_and_exact(degradation: Degradation, name: str) -> None:
    assert str(degradation) == name
    assert parse(name) == degradation


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "dropuot(0.1)",
            r"'dropuot\(0.1\)' is not a degradation \(none, .*did you mean dropout\? accepted: "
            r"block-dropout\(STRENGTH\)",
        ),
        ("dropout", r"write dropout\(STRENGTH\)"),
        ("dropout()", "number"),
        ("dropout(x)", "number"),
        ("none(1)", "write none"),
        ("dropout(1)", "found strength 1; accepted: at least 0 and below 1"),
        ("dropout(-1)", "at least 0"),
        ("dropout(inf)", "found strength inf; accepted: at least 0 and below 1"),
        ("noise(nan)", "found strength nan"),
        ("sigma(inf)", "found strength inf; accepted: at least -0.99 and finite"),
        ("sigma(-1)", "found strength -1; accepted: at least -0.99 and finite"),
        ("label-drop(1.5)", "found strength 1.5; accepted: at least 0 and at most 1"),
        ("quantize(0.5)", "found strength 0.5; accepted: at least 1 and at most 32, or inf"),
        ("", "'' is not.*accepted:"),
        ("noise(0.1)(0.2)", "accepted:"),
        ("noise(0.1", "did you mean noise"),
        ("dropout(0.1, seed=1)", r"write dropout\(STRENGTH\), "),
        ("weight-noise(0.1, 1)", r"write weight-noise\(STRENGTH, seed=NUMBER, "),
        ("weight-noise(0.1, seed=x)", r"write weight-noise\(STRENGTH, seed=NUMBER, "),
        ("weight-noise(0.1, seed=1.5)", r"write weight-noise\(STRENGTH, seed=NUMBER, "),
        ("weight-noise(0.1, seed=1, seed=2)", r"write weight-noise\(STRENGTH, seed=NUMBER, "),
        ("weight-noise(seed=1)", r"write weight-noise\(STRENGTH, seed=NUMBER, "),
        ("turned(1, angle=nan)", "found angle=nan; accepted: a finite float"),
        ("turned(1, angle=inf)", "found angle=inf; accepted: a finite float"),
        ("dropout(0.1)+", r"'' in 'dropout\(0.1\)\+' is not"),
        ("dropout(0.1)+niose(0.2)", r"'niose\(0.2\)' in 'dropout.*did you mean noise"),
        ("dropout(0.1)+noise", r"'noise' in .*write noise\(STRENGTH\)"),
        ("none+dropout(0.1)", "without 'none'"),
    ],
)
def test_bad_names_are_rejected(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse(text)


@pytest.mark.parametrize(("option", "says"), [(1.5, "found seed=1.5; accepted: a finite int")])
def test_bad_options_are_rejected(option: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        WeightNoise(0.1, seed=option)  # type: ignore[arg-type]


class TestFamilies:
    """A kind with fixed options, of which the strength is free."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("weight-noise(seed=1)", "weight-noise(0.3, seed=1)"),
            ("weight-noise(angle=30, seed=1)", "weight-noise(0.3, seed=1, angle=30)"),
            ("noise", "noise(0.3)"),
            (" turned(angle=-45) ", "turned(0.3, angle=-45)"),
        ],
    )
    def test_a_strength_makes_a_degradation(self, text: str, expected: str) -> None:
        found = family(text)
        assert found.strength == found.identity
        made = str(replace(found, strength=0.3))
        assert made == expected
        assert family(kind_of(made)) == found

    def test_of_bits_too(self) -> None:
        assert str(replace(family("quantize"), strength=5)) == "quantize(5)"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("niose", "'niose' is not a kind of degradation; the kinds are block-dropout"),
            ("", "'' is not a kind"),
            ("weight-noise(0.1)", "'weight-noise.0.1.': write weight-noise"),
            ("weight-noise(seed=x)", "write weight-noise"),
            ("noise(seed=1)", "write noise"),
            ("weight-noise(seed=1", "is not a degradation"),
        ],
    )
    def test_other_texts_are_refused(self, text: str, says: str) -> None:
        with pytest.raises(InputError, match=says):
            family(text)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("noise(0.2)", "noise"),
            ("weight-noise(0.1, seed=1, angle=30)", "weight-noise(seed=1, angle=30)"),
            ("quantize(inf)", "quantize"),
            ("none", "none"),
            ("quantize(5)+quantize(3)", "quantize(5)+quantize(3)"),
            ("digits@snapshot=512", "digits@snapshot=512"),
        ],
    )
    def test_the_kind_of_a_name_keeps_its_options(self, name: str, kind: str) -> None:
        assert kind_of(name) == kind
