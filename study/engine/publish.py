"""What a study shows: tables and figures in its report folder and in MLflow."""

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from study.evaluation.evaluator import Evaluator
from study.files.atomic import sha256, write_text
from study.files.places import report_folder
from study.metrics import nearest, nearest_other
from study.records.results import Results
from study.records.task import BASE, Evaluation, Task
from study.report import table
from study.search import CONFIRM
from study.specs import PairingSpec, StudySpec
from study.specs.serialisation import spec_to_yaml
from study.tracking import Tracking

SHOWN, SHOWN_LARGE = 24, 8  # samples in a row of the sample grids, of small images and of others
LARGE = 32  # pixels or latents a side
MEASURED = 600  # samples whose nearest training datum is looked for
REPORTED = "reported.json"  # in a report folder: what it is a report of
PANELS = 12  # pairings that are shown one by one; of more there are the maps


class Publisher:
    """MLflow's view of a study and its report folder, filled as evaluations become known.

    MLflow is opened when there is something new to show: an evaluation made since this began, a
    file, a result. Its failures are said once, and are kept as `problem`; evaluations and tables
    are worth more than their pictures.
    """

    def __init__(
        self,
        root: Path,
        spec: StudySpec,
        about: tuple[dict[str, Any], dict[str, str]],
        anew: bool = False,
    ) -> None:
        self.problem: str | None = None
        self._root, self._spec, self._about, self._anew = root, spec, about, anew
        self._began, self._reported = time.time(), ""
        self._waiting: dict[PairingSpec | None, list[Evaluation]] = {}
        self._parts: dict[PairingSpec | None, str] = {}

    @cached_property
    def _tracking(self) -> Tracking:
        # From now on runs look as if they ran: a process that is killed leaves the next one
        # something to report.
        (report_folder(self._root, self._spec.name) / REPORTED).unlink(missing_ok=True)
        tracking = Tracking(self._root, self._spec.name, self._anew)
        tracking.describe(*self._about)
        return tracking

    def evaluation(self, pairing: PairingSpec | None, evaluation: Evaluation) -> None:
        """Show an evaluation of a pairing's search, or a shared one."""
        self._waiting.setdefault(pairing, []).append(evaluation)
        if evaluation.ended >= self._began:
            self._show(self._flush)

    def files(self, paths: Sequence[Path], folder: str) -> None:
        """Keep files as artifacts of the study's run."""
        self._show(lambda: self._tracking.files(paths, folder))

    def conclude(
        self,
        pairing: PairingSpec,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """The result of a pairing."""
        self._show(lambda: self._tracking.conclude(self._part(pairing), metrics, tags or {}))

    def report(self, results: Results, evaluator: Evaluator | None = None) -> list[dict[str, Any]]:
        """Tables and figures into mlruns/reports/NAME and MLflow, unless those there are of the
        same evaluations.

        Figures of samples where there is an evaluator. Returns the rows of the table.
        """
        folder, rows = report_folder(self._root, results.spec.name), table.rows(results)
        state = self._state(results, folder)
        if evaluator is not None:
            if _is_up_to_date(folder, state):
                return rows
            (folder / REPORTED).unlink(missing_ok=True)
        written = write_report(results, rows, evaluator, folder)
        columns = {key: [str(row[key]) for row in rows] for key in rows[0]} if rows else {}
        shown = {
            "columns": list(columns),
            "data": [list(line) for line in zip(*columns.values(), strict=True)],
        }
        kept = write(folder / "mlflow" / "table.json", json.dumps(shown, ensure_ascii=False))
        self._show(self._flush)
        self.files(written, "report")
        self._show(lambda: self._tracking.table(kept))
        for row, pairing in zip(rows, results.spec.pairings, strict=True):
            keys = (
                "weight",
                "recovered",
                "fd",
                "fd_sd",
                "fd_base",
                "fd_main",
                "fd_guide",
                "tested_weight",
                "tested_fd",
            )
            self.conclude(
                pairing, {f"result_{key}": row[key] for key in keys}, {"verdict": row["verdict"]}
            )
        if evaluator is not None:
            self._reported = json.dumps(
                {"state": state, "files": [path.name for path in written]}, indent=2
            )
        return rows

    def close(self, status: str = "FINISHED") -> None:
        """End what is open in MLflow with a status, so that nothing looks as if it were running."""
        if "_tracking" in self.__dict__:
            self._tracking.close(status)
        if self._reported and self.problem is None and status == "FINISHED":
            write(report_folder(self._root, self._spec.name) / REPORTED, self._reported)

    def _flush(self) -> None:
        for pairing, evaluations in self._waiting.items():
            self._tracking.evaluations(self._part(pairing), evaluations, curve=pairing is not None)
        self._waiting.clear()

    def _part(self, pairing: PairingSpec | None) -> str:
        """The run of a pairing, or of what pairings share."""
        if pairing not in self._parts:
            name, params = (
                CONFIRM,
                {"seeds": str(self._spec.seeds), "samples": str(self._spec.confirm.samples)},
            )
            if pairing is not None:
                name, params = (
                    pairing.name,
                    {
                        "main": pairing.main,
                        "guide": pairing.guide,
                        "coupling": pairing.coupling,
                        "rule": pairing.rule,
                    },
                )
            self._parts[pairing] = self._tracking.part(name, params)
        return self._parts[pairing]

    def _show(self, act: Callable[[], None]) -> None:
        if self.problem is not None:
            return
        try:
            act()
        except Exception as error:  # of MLflow, its database and the disk, from several libraries
            self.problem = (
                str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            )
            print(
                f"study: MLflow failed ({self.problem}); `study sync {self._spec.name}` rebuilds "
                "its view",
                file=sys.stderr,
            )

    def _state(self, results: Results, folder: Path) -> str:
        """A digest of all that a report is made of: where, of what, and by which version of the
        project."""
        evaluations = [
            *(e for found in results.searches.values() for e in found),
            *results.shared.values(),
        ]
        probe, commit = folder / "probe.json", self._about[1].get("git.commit")
        made_of = {
            "root": str(self._root.resolve()),
            "spec": spec_to_yaml(results.spec),
            "commit": commit,
            "evaluations": [(e.task.as_dict(), e.number, e.ended) for e in evaluations],
            "probe": sha256(probe) if probe.is_file() else None,
            "mlflow": (self._root / "mlflow.db").is_file(),
        }
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _is_up_to_date(folder: Path, state: str) -> bool:
    """Whether a report folder has all that was written into it for a state."""
    kept = read_json(folder / REPORTED) or {}
    return kept.get("state") == state and all(
        (folder / name).is_file() for name in kept.get("files", [])
    )


def write_report(
    results: Results, rows: list[dict[str, Any]], evaluator: Evaluator | None, folder: Path
) -> list[Path]:
    """Tables and figures of a study into a folder; returns their paths."""
    # late, as below: a study that is reported already wants no matplotlib
    from study.report import figures, matrix

    written = [
        write(folder / f"table.{suffix}", table.render(rows, form))
        for suffix, form in (("md", "md"), ("csv", "csv"), ("json", "json"), ("tex", "latex"))
    ]
    written.append(write(folder / "config.yaml", spec_to_yaml(results.spec)))
    few = len(results.spec.pairings) <= PANELS
    for metric in results.metrics if few else ():
        shown = rows if metric == results.primary else table.rows(results, metric)
        written.append(figures.save(figures.curves(results, shown), folder / f"{metric}.png"))
    if results.spec.matrix is not None:
        probed = read_json(folder / "probe.json") or []
        cells = matrix.cells(results, rows, probed)
        written.append(write(folder / "matrix.csv", cells.to_csv(index=False)))
        written += [
            figures.save(figure, folder / f"{name}.png")
            for name, figure in matrix.maps(cells).items()
        ]
    if evaluator is not None:
        if few:
            written += sample_figures(results, evaluator, folder)
        for name, reference in evaluator.references.items():
            reference.save(folder / f"reference-{name}.npz")
            written.append(folder / f"reference-{name}.npz")
    return written


def write(path: Path, text: str) -> Path:
    """Write a text file that ends its last line; returns its path."""
    write_text(path, text.rstrip("\n") + "\n")
    return path


def read_json(path: Path) -> Any:
    """What a JSON file of our own holds, or None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def sample_figures(results: Results, evaluator: Evaluator, folder: Path) -> list[Path]:
    """Samples of base, main, guide and guided from the same seeds, and where there are training
    data, how far from them they are."""
    from study.report import figures

    spec, written, distances = results.spec, [], {}
    data = evaluator.base.data.samples
    if len(data):
        shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
        order = torch.split(shuffled, 4 * MEASURED)
        alone = len(order) == 1
        distances["data"] = (
            nearest_other(data) if alone else nearest(data[order[0]], data[torch.cat(order[1:])])
        )
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
            distances[f"{pairing.name}, w {tested.weight:g}"] = nearest(
                list(drawn.values())[-1], data
            )
    if not distances:
        return written
    written.append(figures.save(figures.nearest(distances), folder / "nearest.png"))
    medians = {name: float(d.median()) for name, d in distances.items()}
    written.append(
        write(
            folder / "nearest.json", json.dumps({"median distance to nearest": medians}, indent=2)
        )
    )
    return written


def _few(task: Task, spec: StudySpec, n: int) -> Task:
    return Task(**{**vars(task), "samples": n, "seed": spec.seeds[0]})


def describe(spec: StudySpec, evaluator: Evaluator) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a study, and what else is needed to run it again, as tags."""
    params: dict[str, Any] = {}
    for key, value in {**asdict(spec), "pairings": [p.name for p in spec.pairings]}.items():
        nested = isinstance(value, dict)
        params |= {f"{key}.{k}": str(v) for k, v in value.items()} if nested else {key: str(value)}
    packages = (
        "degradation-study",
        "torch",
        "pytorch-lightning",
        "optuna",
        "mlflow",
        "numpy",
        "scipy",
        "scikit-learn",
    )
    tags = {f"version.{name}": version(name) for name in packages}
    tags |= {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git.commit": _commit(),
        "command": " ".join(sys.argv),
        "threads": str(torch.get_num_threads()),
        "base.sha256": evaluator.base.sha256,
        "reference.sha256": str(evaluator.fingerprint()["reference"]),
    }
    tags |= {f"extractor.{e.name}.sha256": e.sha256 for e in evaluator.extractors}
    return params, tags


def _commit() -> str:
    """The commit of the project's checkout, with a mark where there are changes; empty outside
    one."""

    def ask(*arguments: str) -> str:
        git = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(
            git, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + (
            " with changes" if ask("status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""
