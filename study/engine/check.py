"""Checks of a study before it begins, and the evaluator of its tasks."""

from dataclasses import replace
from pathlib import Path

import torch

from degradations import InputError, Kind, Rule, Schedule, family, kinds, parse_rule
from study.checkpoints import Base
from study.checkpoints.denoiser_names import split
from study.engine.bases import base_of, by_recipe, computing, resolve, untrained
from study.engine.calibrate import first_strength
from study.engine.memory import check_memory
from study.evaluation.evaluator import Evaluator
from study.evaluation.noise_levels import visited
from study.evaluation.parts import is_stochastic, load_parts, what
from study.sampling import solver_of
from study.search import check_over
from study.specs import SamplerSpec, StudySpec


def require_pairings(spec: StudySpec) -> None:
    """Raises InputError for a study without pairings and without a matrix.

    Also for a search that tries weight 1 as the main alone with a rule for which it is not.
    """
    if not spec.pairings and not spec.matrix:
        raise InputError(
            "pairings: found none; give at least one, such as {main: noise(0.1), guide: "
            "noise(0.2)}."
        )
    low, high = spec.search.weight
    for name in dict.fromkeys(pairing.rule for pairing in spec.pairings):
        if not parse_rule(name).main_at_one and 1 in spec.search.weights:
            raise InputError(
                f"search.weight: found {low:g} to {high:g}; accepted: a range without 1, such as 0 "
                f"to 0.95, as weight 1 is not the main alone with the rule {name}."
            )


def evaluator_of(
    spec: StudySpec,
    root: Path,
    retrain: bool = False,
    calibrates: bool = False,
    own: Base | None = None,
) -> Evaluator:
    """The evaluator of a study's tasks; its base and named variants are trained if necessary.

    calibrates: whether kinds are calibrated although there is no matrix. own: the study's base, if
    it is in memory. Raises InputError, before
    any training, for names that are not degradations or that the base does not support.
    """
    if retrain:
        spec = by_recipe(spec)  # what is checked is what will be trained, and workers find it
    given, own = own, own or untrained(spec, root=root)
    check_memory(spec, own)
    parts = load_parts(spec, own, root)
    variants = {str(v) for v in (split(name)[0] for name in spec.named) if v is not None}
    others = {name: untrained(spec, name, root) for name in variants}
    stochastic = {}
    for name in spec.named:
        variant, degradation = split(name)
        of = own if variant is None else others[str(variant)]
        stochastic[name] = is_stochastic(of, degradation)
    check_pairings(spec, own)
    if spec.matrix is not None or calibrates or spec.calibrate.kinds:
        able = [
            kind
            for kind in spec.calibrate.kinds or kinds()
            if is_supported(own, kind, bool(spec.calibrate.kinds))
        ]
        spec = replace(spec, calibrate=replace(spec.calibrate, kinds=tuple(able)))
    base = computing(spec.precision, given) if given else base_of(spec, root, retrain, loaded=own)
    spec = replace(spec, precision=base.precision)

    def variant_of(name: str) -> Base:
        return resolve(name, spec, root, loaded=others.get(name))

    return Evaluator(spec, base, parts, variant_of, stochastic)


def check_pairings(spec: StudySpec, base: Base) -> None:
    """Raises InputError for rules, strengths and ranges that do not suit the study."""
    check_strengths(spec)
    check_over(spec.search, spec.pairings)
    for name in dict.fromkeys(pairing.rule for pairing in spec.pairings):
        require_rule(parse_rule(name), spec.sampler, base)


def require_rule(rule: Rule, sampler: SamplerSpec, base: Base) -> None:
    """Raises InputError for a rule that the base's samples or the sampler do not suit."""
    shape, solver = tuple(base.data.shape), solver_of(sampler.solver)
    found = {
        "images": (len(shape) == 3, f"{what(base)}", "images"),
        "pixels": (len(shape) == 3 and not base.latents, f"{what(base)}", "images of pixels"),
        "first order": (
            solver.nfe(sampler.steps) == sampler.steps,
            f"the solver {sampler.solver}",
            "a solver that evaluates once a step, such as euler",
        ),
    }
    for need, (has, has_instead, accepted) in found.items():
        if need in rule.needs and not has:
            raise InputError(f"rule {rule}: found {has_instead}; accepted: {accepted}.")
    levels = torch.tensor(visited(sampler, base, sampler.steps)[:-1], dtype=torch.float64)
    for part in rule.parts:
        part.require_shape(shape)
        if isinstance(part, Schedule):
            part.require_levels(levels)


def check_strengths(spec: StudySpec) -> None:
    """Raises InputError for guides whose strength cannot be searched in the range of the config."""
    for pairing in spec.pairings if spec.search.strength else ():
        guide, ends = split(pairing.guide)[1], spec.search.strength
        assert ends is not None
        if "@" in pairing.guide or not isinstance(guide, Kind):
            raise InputError(
                f"search.strength: found the guide {pairing.guide}; a single kind with a strength "
                "is needed."
            )
        for end in ends:
            replace(guide, strength=end)  # raises InputError outside the kind's range
        if not ends[0] <= guide.strength <= ends[1]:
            raise InputError(
                f"search.strength: found {ends}; the guide {pairing.guide} must lie within it."
            )


def is_supported(base: Base, kind: str, wanted: bool) -> bool:
    """Whether a base supports a kind. Raises InputError if it does not and the kind is wanted."""
    try:
        made = family(kind)
    except InputError as error:
        raise InputError(f"calibrate.kinds: {error}") from None
    try:
        is_stochastic(base, replace(made, strength=first_strength(made)))
    except InputError:
        if wanted:
            raise
        return False
    return True
