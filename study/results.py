"""Reading the results of a study, as data frames for notebooks."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from study.files.places import report_folder
from study.records.results import Results
from study.records.statistics import difference
from study.records.task import Evaluation
from study.report import replication, table
from study.report.rows import rows
from study.search import CONFIRM
from study.search.collect import collect, collect_bases


class StudyFrames:
    """A study for notebooks.

    table: one row per pairing; trials: one row per evaluation; figures: paths by name;
    differences: FD(w) − FD(1) of every weight that was searched, with paired intervals; bases: of a
    study over several bases, that of each by its name, whose trials and differences are all here.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.results = collect(root, name)
        self.spec = self.results.spec
        self.figures = {path.stem: path for path in sorted(report_folder(root, name).glob("*.png"))}
        self.bases: dict[str, StudyFrames] = {}
        if self.spec.bases:
            self._read_bases(root)
            return
        self.rows = rows(self.results)
        self.table = pd.DataFrame(self.rows)
        self.summary = table.frame(self.rows)
        searched = [_flat(e, p.name) for p, found in self.results.searches.items() for e in found]
        self.trials = pd.DataFrame(
            searched + [_flat(e, CONFIRM) for e in self.results.shared.values()]
        )
        self.differences = pd.DataFrame(_differences(self.results))

    def _read_bases(self, root: Path) -> None:
        found = collect_bases(root, self.spec)
        self.bases = {base: StudyFrames(root, self.spec.of_base(base).name) for base in found}
        self.rows = replication.rows(self.spec, found)
        self.table = pd.DataFrame(self.rows)
        self.summary = replication.frame(self.rows)
        self.trials = pd.concat([each.trials.assign(base=b) for b, each in self.bases.items()])
        self.differences = pd.concat(
            [each.differences.assign(base=b) for b, each in self.bases.items()]
        )


def read(name: str, root: str | Path = "mlruns") -> StudyFrames:
    """A finished or running study as data frames. Raises InputError if there is no such study."""
    return StudyFrames(Path(root), name)


def _differences(results: Results) -> list[dict[str, Any]]:
    """FD(w) − FD(1) of every searched weight, with common random numbers and a 95 % interval."""
    found = []
    for pairing, evaluations in results.searches.items():
        scored = [e for e in evaluations if e.scores]
        alone = next((e for e in scored if e.task.weight == 1), None)
        if alone is None:
            continue
        for e, metric in product((e for e in scored if e.task.weight != 1), results.metrics):
            gap = difference(
                e.scores[metric],
                alone.scores[metric],
                e.replicates(metric),
                alone.replicates(metric),
            )
            row = {"part": pairing.name, "denoiser": e.task.name, "weight": e.task.weight}
            found.append(
                {**row, "metric": metric, "difference": gap.mean, "low": gap.low, "high": gap.high}
            )
    return found


def _flat(evaluation: Evaluation, part: str) -> dict[str, Any]:
    seconds = evaluation.ended - evaluation.started
    return {
        "part": part,
        "denoiser": evaluation.task.name,
        **evaluation.task.as_dict(),
        **evaluation.scores,
        "pruned": evaluation.outcome.pruned,
        "network_evaluations": evaluation.outcome.network_evaluations,
        "seconds": seconds,
        "reason": evaluation.reason,
    }
