"""All evaluations of a study, read from the database."""

from pathlib import Path

from degradations import InputError
from study.records.results import Results
from study.records.task import Evaluation
from study.search import CONFIRM, Store, existing_storage, names
from study.specs import PairingSpec, StudySpec
from study.specs.serialisation import spec_from_json


def collect_bases(root: Path, spec: StudySpec) -> dict[str, Results]:
    """All evaluations of a study over several bases, by base, of those whose pairings are known.

    Raises InputError if none has come so far.
    """
    storage, found = existing_storage(root), {}
    begun = names(storage)
    for base in spec.bases:
        name = spec.of_base(base).name
        own = f"{name}/{CONFIRM}"
        if own in begun and "spec" in Store(storage, own).attributes():
            found[base] = collect(root, name)
    if not found:
        raise InputError(f"the study '{spec.name}' has no pairings yet on any of its bases.")
    return found


def collect(root: Path, name: str) -> Results:
    """All evaluations of a study. Raises InputError if there is no such study."""
    storage = existing_storage(root)
    begun = names(storage)
    if f"{name}/{CONFIRM}" not in begun:
        studies = sorted({each.rsplit("/", 1)[0] for each in begun if each.endswith(f"/{CONFIRM}")})
        raise InputError(
            f"no study '{name}' under {root}; available are: {', '.join(studies) or 'none'}."
        )
    shared = Store(storage, f"{name}/{CONFIRM}")
    attributes = shared.attributes()
    kept = attributes.get("spec")
    if kept is None:
        raise InputError(
            f"the study '{name}' has no pairings yet; resume it by `study run` with its config."
        )
    spec = spec_from_json(kept)
    searches: dict[PairingSpec, list[Evaluation]] = {}
    for p in spec.pairings:
        own = f"{name}/{p.name}"
        searches[p] = (
            Store(storage, own).evaluations() if own in begun else []
        )  # reading must not create one
    known = {evaluation.task: evaluation for evaluation in shared.evaluations()}
    floors = attributes.get(f"floors of {spec.confirm.samples}", {})
    reference = attributes.get("fingerprint", {}).get("reference", "")
    return Results(spec, searches, known, floors, attributes.get("forecasts", ()), reference)
