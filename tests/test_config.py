"""Configs as anybody may write them: what is read, and that whatever else there is gets one
message, soon."""

import time
from pathlib import Path

import pytest

from degradations import InputError
from study.cli.config import load_spec
from study.specs import PairingSpec
from study.specs.serialisation import spec_to_yaml
from tests.config_texts import PLAIN, rejection

CONFIGS = sorted(Path("configs").glob("*.yaml"))
DOUBLED = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)
)


@pytest.mark.parametrize("path", [*CONFIGS, Path("tests/small.yaml")], ids=lambda path: path.stem)
def test_a_spec_survives_yaml(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text(spec_to_yaml(load_spec(path)), encoding="utf-8")
    assert load_spec(again) == load_spec(path)


ODD = [
    (
        "null in search",
        PLAIN + "search: {weight: null}",
        "search.weight: found None; accepted: a list of two",
    ),
    (
        "null in confirm",
        PLAIN + "confirm: {samples: null}",
        "confirm.samples: found None; accepted: a whole number.",
    ),
    (
        "null for a group",
        PLAIN + "recipe: {network: null}",
        "recipe.network: found None; accepted: keys",
    ),
    (
        "null for pairings",
        PLAIN + "pairings: null",
        "pairings: found None; accepted: a list of entries",
    ),
    ("a huge integer", PLAIN + "sampler: {rho: 1" + "0" * 400 + "}", "sampler.rho: found 1000"),
    (
        "an integer that Python does not write",
        PLAIN + "seed: 0x" + "f" * 9000,
        "seed: found an integer of thousands",
    ),
    ("an integer that Python does not read", PLAIN + "seed: " + "9" * 9000, "not YAML"),
    ("nan", PLAIN + "search: {weight: [1.0, .nan]}", "search.weight"),
    (
        "a set",
        PLAIN + "extractors: !!set {digits}",
        "line 3: the tag !!set; accepted: plain values",
    ),
    ("binary", PLAIN + "extractors: [!!binary AAAA]", "line 3: the tag !!binary"),
    (
        "an object",
        PLAIN + "seed: !!python/object/apply:os.system [true]",
        "line 3: the tag !!python",
    ),
    ("a value not of its tag", PLAIN + "seed: !!int x", "not YAML"),
    ("a key that is a number", PLAIN + "3: 4", "line 3: found the key 3; accepted: text"),
    ("a key that is a list", PLAIN + "? [a, b]\n: 1", "line 3: found a list or mapping as a key"),
    ("nothing", "", "found nothing"),
    ("two documents", PLAIN + "---\n" + PLAIN, "line 3: found a second document"),
    ("a tab", PLAIN + "search:\n\tsamples: 3", "line 4: not YAML"),
    ("a NUL", PLAIN + "reference: \0", "not YAML"),
    ("half a character", PLAIN + 'reference: "\\ud800"', "not YAML"),
    (
        "a control character",
        PLAIN + 'reference: "a\\0b"',
        "reference: found 'a\\x00b'; accepted: text without",
    ),
    ("UTF-16", PLAIN.encode("utf-16"), "not UTF-8 text"),
    ("deep", PLAIN + "seed: " + "[" * 100_000 + "]" * 100_000, "nested levels"),
    (
        "an alias of its own",
        PLAIN + "pairings: &p [*p]",
        "line 3: the alias *p is undefined, or refers to a value",
    ),
    ("a repeated key", PLAIN + "name: y", "line 3: the key 'name' is given twice, first in line 1"),
    (
        "a repeated key of a group",
        PLAIN + "search:\n  samples: 3\n  samples: 4",
        "line 5: the key 'samples' is given",
    ),
    (
        "a repeated key of an entry",
        PLAIN + "pairings: [{main: none, main: none, guide: none}]",
        "the key 'main' is",
    ),
    (
        "a key with dots, repeated",
        PLAIN + "sampler.steps: 3\nsampler: {steps: 4}",
        "sampler.steps: given twice",
    ),
    ("a class", PLAIN + "pairings: [{class_path: x.Y}]", "pairings[0].class_path: no such key"),
    (
        "a name split at its comma",
        PLAIN + "pairings: [{main: none, guide: none, rule: interval(0.3, 5)}]",
        "pairings[0].5): no such key. A name with a comma needs quotes within braces",
    ),
    ("many dots", PLAIN + "a." * 400 + "b: 1", "no such key"),
    ("a name too long for a file", "name: " + "ü" * 100 + "a\nbase: digits", "name"),
    (
        "a name too long for a file, in bytes",
        "name: a" + "\U00020000" * 60 + "\nbase: digits",
        "at most 200 bytes",
    ),
    ("a name that MLflow has", "name: Default\nbase: digits", "MLflow"),
    ("a path too long for a file", f"name: x\nbase: /{'y' * 300}", "base: found 301 characters"),
    (
        "a pairing too long for a file",
        PLAIN + f"pairings: [{{main: none, guide: {'y' * 300}}}]",
        "pairings[0].guide",
    ),
    (
        "a wrong name in a pairing",
        PLAIN + "pairings: [{main: none, guide: dropuot(1)}]",
        "pairings[0].guide: 'dropuot",
    ),
    (
        "a wrong name of a guide",
        PLAIN + "search: {method: gp, guides: [dropuot(1)]}",
        "search.guides[0]: 'dropuot",
    ),
    ("a misspelt key", "nmae: x", "nmae: no such key. Did you mean name?"),
    (
        "a misspelt key of a group",
        PLAIN + "sampler: {step: 3}",
        "sampler.step: no such key. Did you mean sampler.step",
    ),
    (
        "a misspelt key of an entry",
        PLAIN + "pairings: [{main: none, guide: none, couplng: shared}]",
        "pairings[0].couplng: no such key. Did you mean pairings[0].coupling?",
    ),
    ("a key of a group", PLAIN + "step: 3", "step: no such key. Did you mean search.step?"),
    ("a missing key of an entry", PLAIN + "pairings: [{main: none}]", "pairings[0].guide: missing"),
    ("no name", "base: digits", "name: missing"),
    (
        "a choice",
        PLAIN + "sampler: {solver: rk4}",
        "sampler.solver: 'rk4' is not a solver; accepted: ddim(eta=NUMBER), ddpm, dpmpp-2m, ",
    ),
    (
        "a choice in an entry",
        PLAIN + "pairings: [{main: a, guide: b}, {main: a, guide: b, coupling: both}]",
        "pairings[1].coupling: found 'both'; accepted: independent, shared.",
    ),
    (
        "a fraction",
        PLAIN + "sampler: {steps: 1.5}",
        "sampler.steps: found 1.5; accepted: a whole number.",
    ),
    (
        "true for a number",
        PLAIN + "sampler: {rho: true}",
        "sampler.rho: found True; accepted: a number.",
    ),
    (
        "a number for text",
        "name: 3",
        "name: found 3; accepted: text (in quotes, if it is meant as text).",
    ),
    (
        "text for a truth",
        PLAIN + "search: {screen: maybe}",
        "search.screen: found 'maybe'; accepted: true or false.",
    ),
    (
        "one number for two",
        PLAIN + "search: {interval: [1]}",
        "accepted: a list of two numbers, or null.",
    ),
    (
        "an entry of a list",
        PLAIN + "search: {design: [1, b]}",
        "search.design[1]: found 'b'; accepted: a number.",
    ),
]


@pytest.mark.parametrize(("content", "says"), [pytest.param(c, s, id=i) for i, c, s in ODD])
def test_an_odd_config_gets_one_message(content: str | bytes, says: str, tmp_path: Path) -> None:
    assert says in rejection(content, tmp_path)


MERGED = "a0: &a0 {k: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60)
)
LONG = "x: &x [" + "y, " * 100_000 + "]\nz: [" + "*x, " * 1000 + "]"


@pytest.mark.parametrize(
    "content",
    [DOUBLED, MERGED, LONG],
    ids=["aliases of aliases", "merges of merges", "a long list"],
)
def test_what_aliases_multiply_is_counted_before_it_is_built(content: str, tmp_path: Path) -> None:
    began = time.process_time()
    assert "more than 400,000 values, aliases expanded" in rejection(content, tmp_path)
    assert time.process_time() - began < 1


GOOD = [
    ("a byte order mark", b"\xef\xbb\xbf" + PLAIN.encode(), lambda spec: spec.name == "x"),
    ("a quoted number", PLAIN + "sampler: {steps: '8'}", lambda spec: spec.sampler.steps == 8),
    (
        "an exponent without a point",
        PLAIN + "recipe: {lr: 1e-3}",
        lambda spec: spec.recipe.lr == 0.001,
    ),
    (
        "whole numbers for others",
        PLAIN + "search: {weight: [1, 2], design: [1]}",
        lambda spec: repr(spec.search.weight) == "(1.0, 2.0)",
    ),
    (
        "a date, which is text",
        "name: 2020-01-01\nbase: digits",
        lambda spec: spec.name == "2020-01-01",
    ),
    ("a key with a dot", PLAIN + "sampler.steps: 8", lambda spec: spec.sampler.steps == 8),
    ("JSON", '{"name": "x", "base": null}', lambda spec: spec.base is None),
    (
        "a merge",
        PLAIN + "pairings: [&a {main: none, guide: noise(0.10)}, {<<: *a, coupling: shared}]",
        lambda spec: spec.pairings[1] == PairingSpec("none", "noise(0.1)", "shared"),
    ),
    ("an empty matrix", PLAIN + "matrix: {}", lambda spec: spec.matrix is not None),
    ("the short form", PLAIN + "search: grid", lambda spec: spec.search.method == "grid"),
]


@pytest.mark.parametrize(("content", "good"), [pytest.param(c, g, id=i) for i, c, g in GOOD])
def test_what_is_written_otherwise_is_read(
    content: str | bytes, good: object, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert callable(good)
    assert good(load_spec(path))


def test_a_missing_config_may_have_a_neighbour(tmp_path: Path) -> None:
    for name, meant in [("configs/digit.yaml", "configs/digits.yaml"), ("digts", "digits")]:
        with pytest.raises(InputError, match=rf"no such file\. Did you mean {meant}\?"):
            load_spec(name)
    for name in (tmp_path / "none.yaml", tmp_path, "x" * 300, "a\0b"):
        with pytest.raises(InputError, match=r"no such file|cannot be read"):
            load_spec(name)


@pytest.mark.slow
def test_mutated_configs_are_accepted_or_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend("benchmarks")
    from benchmarks.mutated_configs import mutant, outcome

    for seed in range(200):
        assert outcome(mutant(seed), tmp_path) in ("accepted", "rejected"), seed
