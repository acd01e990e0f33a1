"""Names of variants of a base, read and written."""

import pytest

from degradations import InputError
from study.checkpoints import Variant


@pytest.mark.parametrize(
    ("text", "variant", "canonical"),
    [
        ("digits", Variant("digits"), "digits"),
        ("digits@snapshot=512", Variant("digits", snapshot=512), "digits@snapshot=512"),
        ("base@seed=1,ema=0.050", Variant("base", ema=0.05, seed=1), "base@ema=0.05,seed=1"),
        (
            "digits@ width = 1.0 , samples=.25",
            Variant("digits", width=1, samples=0.25),
            "digits@width=1,samples=0.25",
        ),
        ("a/b@c/base", Variant("a/b@c/base"), "a/b@c/base"),
        ("a/b@c/base@seed=0", Variant("a/b@c/base", seed=0), "a/b@c/base@seed=0"),
    ],
)
def test_names_are_read_and_written(text: str, variant: Variant, canonical: str) -> None:
    assert Variant.parse(text) == variant
    assert str(variant) == canonical
    assert Variant.parse(canonical) == variant


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("digits@", "found ''; accepted: snapshot=…, ema=…, width=…, samples=…, split=…, seed=…"),
        ("digits@seed", "seed: found ''; accepted: an integer"),
        ("digits@snapshots=4", "found 'snapshots=4'.* Did you mean snapshot?"),
        ("digits@seed=1,seed=2", "seed is given twice"),
        ("@seed=1", "found no base before the @; accepted: base@seed=1"),
        ("digits@snapshot=0", "snapshot: found 0; accepted: a step"),
        ("digits@snapshot=1.5", "snapshot: found '1.5'; accepted: a step"),
        ("digits@ema=wide", "ema: found 'wide'; accepted: a relative width from 0.04 to 0.24"),
        ("digits@ema=0.03", "ema: found 0.03; accepted: a relative width from 0.04 to 0.24"),
        ("digits@ema=0.25", "ema: found 0.25"),
        ("digits@width=0", "width: found 0; accepted: a factor above 0 and at most 4"),
        ("digits@width=nan", "width: found nan"),
        ("digits@width=inf", "width: found inf"),
        ("digits@samples=1.01", "samples: found 1.01; accepted: a share"),
        ("digits@seed=-1", "seed: found -1; accepted: an integer from 0"),
    ],
)
def test_bad_names_are_rejected(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Variant.parse(text)


def test_a_variant_of_a_variant() -> None:
    variant = Variant.parse("base@width=0.5,seed=2").of(
        Variant.parse("digits@width=0.5,seed=1,ema=0.05")
    )
    assert str(variant) == "digits@ema=0.05,width=0.25,seed=2"
