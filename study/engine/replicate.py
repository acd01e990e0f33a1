"""A study over several bases: the study of each in turn, and what they say together."""

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from degradations import InputError
from study.engine.bases import untrained
from study.engine.check import require_pairings
from study.engine.publish import Publisher
from study.engine.report import write, write_tables
from study.engine.run import run, work
from study.engine.run import sync as sync_one
from study.engine.session import exclusive, forget_study
from study.files.places import report_folder
from study.parallel.group import group
from study.records.results import Results
from study.report import replication
from study.search import CONFIRM, Store, open_storage
from study.search.collect import collect, collect_bases
from study.specs import StudySpec
from study.specs.serialisation import spec_to_json, spec_to_yaml


def replicate(
    spec: StudySpec, root: Path, fresh: bool = False, workers: int = 1, release: str | None = None
) -> list[dict[str, Any]]:
    """Run or resume the study of every base; returns the rows of their common table.

    Each is a study of its own, NAME.BASE, with its own search, tables and MLflow runs. Raises
    InputError, before anything is trained, for bases of different data.
    """
    require_pairings(spec)
    check_bases(spec, root)
    leads = group().rank == 0
    with exclusive(root, spec.name) if leads else nullcontext():
        if leads:
            Store(open_storage(root), f"{spec.name}/{CONFIRM}").remember("spec", spec_to_json(spec))
            for base in spec.bases if fresh else ():  # all, before any begins again
                forget_study(spec.of_base(base).name, root)
        for number, base in enumerate(spec.bases, 1):
            if leads:
                print(f"study: base {number} of {len(spec.bases)}, {base}", file=sys.stderr)
            run(spec.of_base(base), root, fresh=fresh, workers=workers, release=release)
        return report(spec, root, collect_bases(root, spec)) if leads else []


def join(spec: StudySpec, root: Path, release: str | None = None) -> None:
    """Add a process to the studies of all bases, one after the other."""
    require_pairings(spec)
    check_bases(spec, root)
    for base in spec.bases:
        work(spec.of_base(base), root, release)


def sync(name: str, root: Path) -> None:
    """Rebuild MLflow's records of a study, of one base or of several, as `run.sync` does."""
    spec = collect(root, name).spec
    if not spec.bases:
        sync_one(name, root)
        return
    bases = collect_bases(root, spec)
    for base in bases:
        sync_one(spec.of_base(base).name, root)
    with exclusive(root, name):
        report(spec, root, bases)


def check_bases(spec: StudySpec, root: Path) -> None:
    """Raises InputError for bases of which one is not available, or that differ in their data."""
    found = {base: untrained(spec.of_base(base), root=root).data for base in spec.bases}
    first = next(iter(found.values()))
    for base, data in found.items():
        if (data.name, data.shape, data.classes) != (first.name, first.shape, first.classes):
            raise InputError(
                f"bases: found {spec.bases[0]} of the data '{first.name}' and {base} of "
                f"'{data.name}'; accepted: bases of the same data."
            )


def report(spec: StudySpec, root: Path, bases: Mapping[str, Results]) -> list[dict[str, Any]]:
    """Write the common tables into the study's report folder and MLflow; returns the rows."""
    folder, rows = report_folder(root, spec.name), replication.rows(spec, bases)
    written = write_tables(folder, lambda form: replication.render(rows, form))
    written.append(write(folder / "config.yaml", spec_to_yaml(spec)))
    publisher = Publisher(root, spec, ({"bases": ", ".join(spec.bases)}, {}))
    publisher.files(written, "report")
    publisher.close()
    return rows
