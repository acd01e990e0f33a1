"""Names in a study: of denoisers (a base or variant with a degradation), rules and solvers."""

from collections.abc import Callable
from dataclasses import replace

from degradations import Degradation, Identity, InputError, parse, parse_rule
from study.checkpoints.load import is_external
from study.checkpoints.variants import Variant
from study.sampling import grid_of, nfe, solver_of
from study.specs import StudySpec
from study.specs.checks import require


def split(name: str) -> tuple[Variant | None, Degradation]:
    """The variant or checkpoint in a name, if any, and the degradation that follows it.

    As in `digits@snapshot=512+dropout(0.1)`, `edm2-img512-xs-0134217-0.125`. Raises InputError if
    the name is neither.
    """
    if is_external(name) and not (name.startswith("hub:") and "+" in name):
        return Variant.parse(name), Identity()  # a path may contain any characters, even +
    variant, plus, rest = name.partition("+")
    if "@" not in name and not is_external(variant.strip()):
        return None, parse(name)
    return Variant.parse(variant.strip()), parse(rest) if plus else Identity()


def canonical(name: str) -> str:
    """The canonical form of a name, so that equal denoisers have equal names.

    Raises InputError as `split` does.
    """
    variant, degradation = split(name)
    if variant is None:
        return str(degradation)
    return str(variant) if degradation == Identity() else f"{variant}+{degradation}"


def canonical_spec(spec: StudySpec) -> StudySpec:
    """The spec with all its names in canonical form.

    Raises InputError, naming the key, if a name is unknown, or if the budget is below the number of
    function evaluations that the named parts need.
    """
    solver = solver_of(spec.sampler.solver)
    require(
        spec.sampler.steps >= solver.least_steps,
        "sampler.steps",
        spec.sampler.steps,
        f"at least {solver.least_steps} with the solver {solver}",
    )
    sampler = replace(spec.sampler, solver=str(solver), grid=str(grid_of(spec.sampler.grid)))
    search = spec.search
    least = 4 * nfe(sampler)
    require(
        search.budget is None or search.budget >= least,
        "search.budget",
        search.budget,
        f"at least {least}, the probe and one guided evaluation at {sampler.steps} steps",
    )
    pairings = tuple(
        replace(
            pairing,
            main=_named(canonical, pairing.main, f"pairings[{i}].main"),
            guide=_named(canonical, pairing.guide, f"pairings[{i}].guide"),
            rule=_named(lambda name: str(parse_rule(name)), pairing.rule, f"pairings[{i}].rule"),
        )
        for i, pairing in enumerate(spec.pairings)
    )
    guides = (
        _named(canonical, guide, f"search.guides[{i}]") for i, guide in enumerate(search.guides)
    )
    search = replace(search, guides=tuple(guides))
    return replace(spec, sampler=sampler, pairings=pairings, search=search)


def _named(read: Callable[[str], str], name: str, key: str) -> str:
    try:
        return read(name)
    except InputError as error:
        raise InputError(f"{key}: {error}") from None
