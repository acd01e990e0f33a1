"""Specs that contradict themselves, each with what is said of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from study.checkpoints.denoiser_names import canonical_spec
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

Study = partial(StudySpec, "x", base="digits")
TWICE = (PairingSpec("noise(0.1)", "noise(0.2)"),) * 2
EULER = SamplerSpec(solver="euler", steps=10)
MANY = tuple(PairingSpec("none", f"noise({i})") for i in range(20_001))


def named(**given: Any) -> StudySpec:
    """A study whose names were read."""
    return canonical_spec(Study(**given))


CONTRADICTIONS: list[tuple[Callable[..., Any], dict[str, Any], str, str, str]] = [
    # what is made, of what; the key, the value found, and words of what is accepted
    (SearchSpec, {"weight": (2.0, 1.0)}, "search.weight", "(2.0, 1.0)", "the lower one first"),
    (
        SearchSpec,
        {"weight": (1.5, 3.0), "design": ()},
        "search.weight",
        "(1.5, 3.0)",
        "a range with 1",
    ),
    (
        SearchSpec,
        {"weight": (0.0, 0.9), "design": ()},
        "search.weight",
        "(0.0, 0.9)",
        "a range with 1",
    ),
    (SearchSpec, {"step": 3.5}, "search.step", "3.5", "above 0 and at most 3"),
    (SearchSpec, {"step": 1e-4}, "search.step", "0.0001", "at most 10000 steps"),
    (SearchSpec, {"samples": 1}, "search.samples", "1", "at least 2"),
    (SearchSpec, {"trials": 0}, "search.trials", "0", "at least 1"),
    (SearchSpec, {"method": "gp", "design": (1.0, 4.0)}, "search.design", "4.0", "from 0.5 to 3.5"),
    (SearchSpec, {"tolerance": 0.01}, "search.tolerance", "0.01", "at least search.step, 0.05"),
    (SearchSpec, {"tolerance": 3.0}, "search.tolerance", "3.0", "below 3, the range of weights"),
    (
        SearchSpec,
        {"tolerance": 0.2, "method": "gp"},
        "search.tolerance",
        "0.2",
        "nothing with the method 'gp'",
    ),
    (
        SearchSpec,
        {"tolerance": 0.2, "method": "grid"},
        "search.tolerance",
        "0.2",
        "nothing with the method 'grid'",
    ),
    (
        SearchSpec,
        {"budget": 400, "method": "grid"},
        "search.budget",
        "400",
        "nothing with the method 'grid'",
    ),
    (
        SearchSpec,
        {"interval": (5.0, 0.1), "method": "gp"},
        "search.interval",
        "(5.0, 0.1)",
        "the lower one first",
    ),
    (
        SearchSpec,
        {"interval": (0.0, 5.0), "method": "gp"},
        "search.interval",
        "(0.0, 5.0)",
        "two numbers above 0",
    ),
    (
        SearchSpec,
        {"strength": (0.4, 0.2), "method": "gp"},
        "search.strength",
        "(0.4, 0.2)",
        "the lower one first",
    ),
    (SearchSpec, {"interval": (0.1, 5.0)}, "search.interval", "(0.1, 5.0)", "only gp"),
    (
        SearchSpec,
        {"strength": (0.1, 0.5), "method": "grid"},
        "search.strength",
        "(0.1, 0.5)",
        "only gp",
    ),
    (SearchSpec, {"guides": ("noise(0.3)",)}, "search.guides", "('noise(0.3)',)", "only gp"),
    (
        SearchSpec,
        {"method": "gp", "strength": (0.1, 0.5), "guides": ("noise(0.3)",)},
        "search.guides",
        "('noise(0.3)',)",
        "nothing together with search.strength",
    ),
    (ConfirmSpec, {"seed_sets": 1}, "confirm.seed_sets", "1", "at least 2, for an interval"),
    (ConfirmSpec, {"samples": 1}, "confirm.samples", "1", "at least 2"),
    (CalibrateSpec, {"levels": (3.0, 1.5)}, "calibrate.levels", "(3.0, 1.5)", "rising"),
    (CalibrateSpec, {"levels": (1.5, 1.5)}, "calibrate.levels", "(1.5, 1.5)", "rising"),
    (CalibrateSpec, {"levels": (1.0, 1.5)}, "calibrate.levels", "(1.0, 1.5)", "above 1"),
    (CalibrateSpec, {"levels": ()}, "calibrate.levels", "()", "numbers above 1"),
    (
        CalibrateSpec,
        {"kinds": ("noise", "noise")},
        "calibrate.kinds",
        "('noise', 'noise')",
        "each one once",
    ),
    (CalibrateSpec, {"tolerance": 1.0}, "calibrate.tolerance", "1.0", "between 0 and 1"),
    (CalibrateSpec, {"trials": 1}, "calibrate.trials", "1", "at least 2"),
    (
        PairingSpec,
        {"main": "noise(0.1)", "guide": "none", "coupling": "same"},
        "coupling",
        "'same'",
        "or shared",
    ),
    *(
        (ProbeSpec, {key: least - 1}, f"probe.{key}", f"{least - 1}", f"at least {least}")
        for key, least in {"images": 2, "levels": 2, "draws": 2, "resamples": 100}.items()
    ),
    *(
        (spec, {key: most + 1}, f"{group}.{key}", f"{most + 1}", f"at most {most:,}")
        for spec, group, key, most in [
            (SearchSpec, "search", "samples", 10_000_000),
            (SearchSpec, "search", "trials", 10_000),
            (SearchSpec, "search", "budget", 10**9),
            (ConfirmSpec, "confirm", "samples", 10_000_000),
            (ConfirmSpec, "confirm", "seed_sets", 1000),
            (CalibrateSpec, "calibrate", "trials", 10_000),
            (SamplerSpec, "sampler", "chunk", 1_000_000),
            (RecipeSpec, "recipe", "steps", 10**9),
            (RecipeSpec, "recipe", "batch", 1_000_000),
            (ProbeSpec, "probe", "images", 100_000),
            (ProbeSpec, "probe", "levels", 1000),
            (ProbeSpec, "probe", "draws", 10_000),
            (ProbeSpec, "probe", "resamples", 100_000),
        ]
    ),
    (ConfirmSpec, {"samples": 10**11}, "confirm.samples", "100000000000", "at most 10,000,000"),
    (Study, {"pairings": MANY}, "pairings", "20001", "at most 20,000"),
    (
        NetworkSpec,
        {"width": 4096, "hidden": 16384},
        "network.width, network.hidden, network.blocks",
        "(4096, 16384, 8)",
        "at most 100,000,000 weights",
    ),
    (StudySpec, {"name": "a" * 101, "base": "digits"}, "name", "'aa", "at most 100 letters"),
    (
        StudySpec,
        {"name": "a" + "\U00020000" * 50, "base": "digits"},
        "name",
        "'a",
        "at most 200 bytes",
    ),
    (StudySpec, {"name": "Default", "base": "digits"}, "name", "'Default'", "any other name"),
    (
        NetworkSpec,
        {"kind": "transformer", "width": 66},
        "network.width",
        "66",
        "a multiple of network.heads, 4",
    ),
    (NetworkSpec, {"blocks": 0}, "network.blocks", "0", "an integer from 1 to 256"),
    (RecipeSpec, {"samples": 0.0}, "recipe.samples", "0.0", "above 0 and at most 1"),
    (RecipeSpec, {"ema": 0.3}, "recipe.ema", "0.3", "between 0 and 0.28"),
    (SamplerSpec, {"steps": 1}, "sampler.steps", "1", "from 2 to 10000"),
    (
        SamplerSpec,
        {"sigma_min": 90.0},
        "sampler.sigma_min, sampler.sigma_max",
        "(90.0, 80.0)",
        "sigma_min < sigma_max",
    ),
    (
        SamplerSpec,
        {"churn_min": 2.0, "churn_max": 1.0},
        "sampler.churn_min, sampler.churn_max",
        "(2.0, 1.0)",
        "≤",
    ),
    (
        named,
        {"sampler": EULER, "search": SearchSpec(budget=39)},
        "search.budget",
        "39",
        "at least 40, the probe and",
    ),
    (named, {"search": SearchSpec(budget=4 * 63 - 1)}, "search.budget", "251", "at least 252"),
    (
        Study,
        {"matrix": MatrixSpec(), "calibrate": CalibrateSpec(levels=(1.5,))},
        "calibrate.levels",
        "(1.5,)",
        "two levels for a matrix",
    ),
    (
        Study,
        {"matrix": MatrixSpec(), "calibrate": CalibrateSpec(levels=(1.5, 2.0, 3.0))},
        "calibrate.levels",
        "(1.5, 2.0, 3.0)",
        "two levels for a matrix",
    ),
    (
        Study,
        {
            "matrix": MatrixSpec(tested=("noise", "blur")),
            "calibrate": CalibrateSpec(kinds=("noise",)),
        },
        "matrix.tested",
        "['blur']",
        "kinds of calibrate.kinds",
    ),
    (
        Study,
        {"pairings": TWICE},
        "pairings",
        "noise(0.1) → noise(0.2), independent",
        "each one once",
    ),
    (
        Study,
        {
            "pairings": (PairingSpec("none", "noise(0.1)", rule="interval(1, 2)"),),
            "search": SearchSpec(method="gp", interval=(0.1, 5.0)),
        },
        "search.interval",
        "(0.1, 5.0)",
        "none → noise(0.1), independent, interval(1, 2)",
    ),
    (Study, {"extractors": ()}, "extractors", "()", "at least one"),
    (
        Study,
        {"extractors": ("digits", "digits")},
        "extractors",
        "('digits', 'digits')",
        "each one once",
    ),
    (Study, {"seed": -1}, "seed", "-1", "from 0 to"),
    (StudySpec, {"name": "a/b", "base": "digits"}, "name", "'a/b'", "letters, digits"),
    (
        StudySpec,
        {"name": "x", "reference": "fractal"},
        "recipe.data",
        "'digits'",
        "fractal, the reference",
    ),
]
