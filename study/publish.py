"""What a study shows: tables and figures in its report folder and in MLflow."""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from study.files.atomic import write_text
from study.metrics import nearest, nearest_other
from study.modules.evaluate import Evaluator
from study.records import BASE, Evaluation, Results, Task
from study.report import figures, matrix, table
from study.results import report_folder, spec_to_yaml
from study.search import CONFIRM
from study.specs import PairingSpec, StudySpec
from study.tracking import Tracking

SHOWN, SHOWN_LARGE = 24, 8  # samples in a row of the sample grids, of small images and of others
LARGE = 32  # pixels or latents a side
MEASURED = 600  # samples whose nearest training datum is looked for
PANELS = 12  # pairings that are shown one by one; of more there are the maps


class Published:
    """MLflow's view of a study, filled as evaluations become known."""

    def __init__(self, root: Path, spec: StudySpec, about: Sequence[dict[str, Any]], anew: bool = False) -> None:
        self.tracking = Tracking(root, spec.name, anew)
        self.tracking.describe(*about)
        self._spec, self._parts = spec, dict[str, str]()

    def evaluation(self, pairing: PairingSpec | None, evaluation: Evaluation) -> None:
        """Show an evaluation of a pairing's search, or a shared one."""
        self.tracking.evaluation(self.part(pairing), evaluation, curve=pairing is not None)

    def part(self, pairing: PairingSpec | None) -> str:
        """The run of a pairing, or of what pairings share."""
        name = CONFIRM if pairing is None else pairing.name
        if name not in self._parts:
            params = (
                {"seeds": str(self._spec.seeds), "samples": str(self._spec.confirm.samples)}
                if pairing is None
                else {"main": pairing.main, "guide": pairing.guide, "coupling": pairing.coupling}
            )
            self._parts[name] = self.tracking.part(name, params)
        return self._parts[name]


def report(results: Results, published: Published, evaluator: Evaluator | None, root: Path) -> list[dict[str, Any]]:
    """Tables and figures into mlruns/reports/NAME and MLflow; figures of samples where there is an evaluator."""
    folder, rows = report_folder(root, results.spec.name), table.rows(results)
    written = [write(folder / f"table.{suffix}", table.render(rows, form))
               for suffix, form in (("md", "md"), ("csv", "csv"), ("json", "json"), ("tex", "latex"))]  # fmt: skip
    written.append(write(folder / "config.yaml", spec_to_yaml(results.spec)))
    few = len(results.spec.pairings) <= PANELS
    for metric in results.metrics if few else ():
        shown = rows if metric == results.primary else table.rows(results, metric)
        written.append(figures.save(figures.curves(results, shown), folder / f"{metric}.png"))
    if results.spec.matrix is not None:
        probed = read_json(folder / "probe.json") or []
        cells = matrix.cells(results, rows, probed)
        written.append(write(folder / "matrix.csv", cells.to_csv(index=False)))
        written += [figures.save(figure, folder / f"{name}.png") for name, figure in matrix.maps(cells).items()]
    if evaluator is not None:
        if few:
            written += sample_figures(results, evaluator, folder)
        for name, reference in evaluator.references.items():
            reference.save(folder / f"reference-{name}.npz")
            written.append(folder / f"reference-{name}.npz")
    tracking = published.tracking
    tracking.files(written, "report")
    tracking.table({key: [str(row[key]) for row in rows] for key in rows[0]} if rows else {}, "table.json")
    for row, pairing in zip(rows, results.spec.pairings, strict=True):
        keys = ("weight", "recovered", "fd", "fd_sd", "fd_base", "fd_main", "fd_guide", "tested_weight", "tested_fd")
        result = {f"result_{key}": row[key] for key in keys}
        tracking.conclude(published.part(pairing), result, {"verdict": row["verdict"]})
    return rows


def write(path: Path, text: str) -> Path:
    """Write a text file that ends its last line; returns its path."""
    write_text(path, text.rstrip("\n") + "\n")
    return path


def read_json(path: Path) -> Any:
    """What a JSON file of our own holds, or None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def sample_figures(results: Results, evaluator: Evaluator, folder: Path) -> list[Path]:
    """Samples of base, main, guide and guided from the same seeds, and where there are training data, how far from
    them they are."""
    spec, written, distances = results.spec, [], {}
    data = evaluator.base.data.samples
    if len(data):
        shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
        order = torch.split(shuffled, 4 * MEASURED)
        alone = len(order) == 1
        distances["data"] = nearest_other(data) if alone else nearest(data[order[0]], data[torch.cat(order[1:])])
    few = MEASURED if len(data) else SHOWN  # what is only looked at need not be more
    draw = cache(evaluator.samples)
    for index, pairing in enumerate(spec.pairings):
        tested = results.tested(pairing)
        if tested is None:
            continue
        tasks = {
            "base": _few(results.single(BASE), spec, few),
            f"main {pairing.main}": _few(results.single(pairing.main), spec, few),
            f"guide {pairing.guide}": _few(results.single(pairing.guide), spec, few),
            f"guided, w = {tested.weight:.2f}": _few(tested, spec, few),
        }
        drawn = {name: draw(task) for name, task in tasks.items()}
        row = SHOWN if data.shape[-1] < LARGE else SHOWN_LARGE
        shown = {name: evaluator.images(x[:row]) if x.ndim > 2 else x for name, x in drawn.items()}
        written.append(figures.save(figures.samples(shown), folder / f"samples-{index + 1}.png"))
        if len(data):
            distances.setdefault("base", nearest(drawn["base"], data))
            distances[f"{pairing.name}, w {tested.weight:g}"] = nearest(list(drawn.values())[-1], data)
    if not distances:
        return written
    written.append(figures.save(figures.nearest(distances), folder / "nearest.png"))
    medians = {name: float(d.median()) for name, d in distances.items()}
    written.append(write(folder / "nearest.json", json.dumps({"median distance to nearest": medians}, indent=2)))
    return written


def _few(task: Task, spec: StudySpec, n: int) -> Task:
    return Task(**{**vars(task), "samples": n, "seed": spec.seeds[0]})


def describe(spec: StudySpec, evaluator: Evaluator) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a study, and what else is needed to run it again, as tags."""
    params: dict[str, Any] = {}
    for key, value in {**asdict(spec), "pairings": [p.name for p in spec.pairings]}.items():
        nested = isinstance(value, dict)
        params |= {f"{key}.{k}": str(v) for k, v in value.items()} if nested else {key: str(value)}
    packages = ("degradation-study", "torch", "pytorch-lightning", "optuna", "mlflow", "numpy", "scipy", "scikit-learn")
    tags = {f"version.{name}": version(name) for name in packages}
    tags |= {"python": platform.python_version(), "platform": platform.platform(), "git.commit": _commit(),
             "command": " ".join(sys.argv), "threads": str(torch.get_num_threads()),
             "base.sha256": evaluator.base.sha256,
             "reference.sha256": str(evaluator.fingerprint()["reference"])}  # fmt: skip
    tags |= {f"extractor.{e.name}.sha256": e.sha256 for e in evaluator.extractors}
    return params, tags


def _commit() -> str:
    """The commit of the project's checkout, with a mark where there are changes; empty outside one."""

    def ask(*arguments: str) -> str:
        git = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + (" with changes" if ask("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
