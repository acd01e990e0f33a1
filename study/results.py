"""Reading a study back: for tables, for MLflow, and for notebooks."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from degradations import Refused
from study.records.statistics import difference
from study.records.task import Evaluation, Results
from study.report import table
from study.search import CONFIRM, Notebook, existing_storage, names
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


def report_folder(root: Path, name: str) -> Path:
    """Where the tables and figures of a study are written."""
    return root / "reports" / name


def collect(root: Path, name: str) -> Results:
    """All evaluations of a study. Raises Refused for a study that is not there."""
    storage = existing_storage(root)
    known = names(storage)
    if f"{name}/{CONFIRM}" not in known:
        studies = sorted({each.rsplit("/", 1)[0] for each in known if each.endswith(f"/{CONFIRM}")})
        raise Refused(f"no study '{name}' under {root}; there are: {', '.join(studies) or 'none'}.")
    shared = Notebook(storage, f"{name}/{CONFIRM}")
    kept = shared.attributes().get("spec")
    if kept is None:
        raise Refused(f"the study '{name}' has no pairings yet; `study run` with its config goes on with it.")
    spec = spec_from_json(kept)
    searches: dict[PairingSpec, list[Evaluation]] = {}
    for p in spec.pairings:
        begun = f"{name}/{p.name}" in known  # reading must not begin one
        searches[p] = Notebook(storage, f"{name}/{p.name}").evaluations() if begun else []
    return Results(spec, searches, {evaluation.task: evaluation for evaluation in shared.evaluations()})


class StudyFrames:
    """A study for notebooks: `table`, a row a pairing; `trials`, a row an evaluation; `figures`, by name, as paths.

    differences: FD(w) − FD(1) of every weight that was searched, with paired intervals.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.results = collect(root, name)
        self.spec = self.results.spec
        self.rows = table.rows(self.results)
        self.table = pd.DataFrame(self.rows)
        self.summary = table.frame(self.rows)
        searched = [_flat(e, p.name) for p, found in self.results.searches.items() for e in found]
        self.trials = pd.DataFrame(searched + [_flat(e, CONFIRM) for e in self.results.shared.values()])
        self.differences = pd.DataFrame(_differences(self.results))
        self.figures = {path.stem: path for path in sorted(report_folder(root, name).glob("*.png"))}


def read(name: str, root: str | Path = "mlruns") -> StudyFrames:
    """A finished or running study as data frames. Raises Refused for a study that is not there."""
    return StudyFrames(Path(root), name)


def _differences(results: Results) -> list[dict[str, Any]]:
    """FD(w) − FD(1) of every weight that a search tried, on the same samples, with its interval at 95 %."""
    found = []
    for pairing, evaluations in results.searches.items():
        alone = next((e for e in evaluations if e.task.weight == 1 and e.scores), None)
        for e in evaluations if alone else ():
            for metric in results.metrics if e.scores and e.task.weight != 1 else ():
                gap = difference(e.scores[metric], alone.scores[metric], e.replicates(metric), alone.replicates(metric))  # type: ignore[union-attr]
                found.append({"part": pairing.name, "denoiser": e.task.name, "weight": e.task.weight, "metric": metric,
                              "difference": gap.mean, "low": gap.low, "high": gap.high})  # fmt: skip
    return found


def _flat(evaluation: Evaluation, part: str) -> dict[str, Any]:
    seconds = evaluation.ended - evaluation.started
    return {"part": part, "denoiser": evaluation.task.name, **evaluation.task.as_dict(), **evaluation.scores,
            "evaluations": evaluation.outcome.evaluations, "seconds": seconds, "reason": evaluation.reason}  # fmt: skip


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """A spec as plain JSON values, lists for tuples."""
    found: dict[str, Any] = _lists(asdict(spec))
    found["sampler"]["churn_max"] = repr(spec.sampler.churn_max)  # may be infinite, which JSON has not
    return found


def spec_to_yaml(spec: StudySpec) -> str:
    """A spec as a config that can be given to every command."""
    text: str = yaml.safe_dump(_lists(asdict(spec)), sort_keys=False, allow_unicode=True)
    return text


def _lists(value: Any) -> Any:
    """Tuples as the lists that YAML has for them."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, (list, tuple)) else value


def spec_from_json(kept: dict[str, Any]) -> StudySpec:
    """The spec of what `spec_to_json` gave."""
    inner = {"sampler": SamplerSpec, "search": SearchSpec, "confirm": ConfirmSpec, "calibrate": CalibrateSpec,
             "matrix": MatrixSpec, "probe": ProbeSpec}  # fmt: skip
    kept = {**kept, "sampler": {**kept["sampler"], "churn_max": float(kept["sampler"]["churn_max"])}}
    made: dict[str, Any] = {key: _tuples(value) for key, value in kept.items()}
    made |= {key: type_(**_tuples(kept[key])) for key, type_ in inner.items() if kept.get(key) is not None}
    made["recipe"] = RecipeSpec(**{**kept["recipe"], "network": NetworkSpec(**kept["recipe"]["network"])})
    made["pairings"] = tuple(PairingSpec(**pairing) for pairing in kept["pairings"])
    return StudySpec(**made)


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
