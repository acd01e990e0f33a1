"""All evaluations of a study, read from the database."""

from pathlib import Path

from degradations import InputError
from study.records.results import Results
from study.records.task import Evaluation
from study.search import CONFIRM, Store, existing_storage, names
from study.specs import PairingSpec
from study.specs.serialisation import spec_from_json


def collect(root: Path, name: str) -> Results:
    """All evaluations of a study. Raises InputError if there is no such study."""
    storage = existing_storage(root)
    known = names(storage)
    if f"{name}/{CONFIRM}" not in known:
        studies = sorted({each.rsplit("/", 1)[0] for each in known if each.endswith(f"/{CONFIRM}")})
        raise InputError(
            f"no study '{name}' under {root}; available are: {', '.join(studies) or 'none'}."
        )
    shared = Store(storage, f"{name}/{CONFIRM}")
    kept = shared.attributes().get("spec")
    if kept is None:
        raise InputError(
            f"the study '{name}' has no pairings yet; resume it by `study run` with its config."
        )
    spec = spec_from_json(kept)
    searches: dict[PairingSpec, list[Evaluation]] = {}
    for p in spec.pairings:
        begun = f"{name}/{p.name}" in known  # reading must not create one
        searches[p] = Store(storage, f"{name}/{p.name}").evaluations() if begun else []
    return Results(
        spec, searches, {evaluation.task: evaluation for evaluation in shared.evaluations()}
    )
