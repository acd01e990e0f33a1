"""The tables and figures of a study, as files."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from study.evaluation.evaluator import Evaluator
from study.files.atomic import write_text
from study.metrics import nearest, nearest_other, training_share
from study.records.results import Results
from study.records.task import BASE, Task
from study.report import table
from study.report.rows import rows as rows_of
from study.specs import StudySpec
from study.specs.serialisation import spec_to_yaml

SHOWN, SHOWN_LARGE = 24, 8  # samples in a row of a sample grid, for small and for large images
LARGE = 32  # pixels or latents along a side
MEASURED = 600  # samples whose nearest training datum is searched
MOST_DATA = 50_000  # data among which it is searched, evenly spread
PANELS = 12  # pairings up to which each has its own figures; more are shown only by the maps


def write_report(
    results: Results, rows: list[dict[str, Any]], evaluator: Evaluator | None, folder: Path
) -> list[Path]:
    """Write the tables and figures of a study into a folder; returns their paths."""
    # late, as below: a study whose report is up to date does not need matplotlib
    from study.report import figures, matrix

    written = write_tables(folder, lambda form: table.render(rows, form))
    written.append(write(folder / "config.yaml", spec_to_yaml(results.spec)))
    few = len(results.spec.pairings) <= PANELS
    for metric in results.metrics if few else ():
        shown = rows if metric == results.primary else rows_of(results, metric)
        written.append(figures.save(figures.curves(results, shown), folder / f"{metric}.png"))
    if results.spec.matrix is not None or results.forecasts:
        probed = read_json(folder / "probe.json") or []
        cells = matrix.cells(results, rows, probed)
        written.append(write(folder / "matrix.csv", cells.to_csv(index=False)))
        written += scored_forecasts(results, cells, folder)
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


def scored_forecasts(results: Results, cells: pd.DataFrame, folder: Path) -> list[Path]:
    """Write how the forecasts of a study turned out, as CSV and as a page; returns the paths."""
    from study.report import forecasts

    versions, name, said = results.forecasts, str(results.spec.forecasts), None
    lines = ["Forecasts were not written down before the study."]
    if versions:
        said, lines = (
            forecasts.read_forecasts(versions[0]["text"], name),
            [forecasts.stated(versions, name)],
        )
    scored = forecasts.score(cells, said)
    lines += ["", scored.round(2).to_markdown(index=False)]
    return [
        write(folder / "forecasts.csv", scored.to_csv(index=False)),
        write(folder / "forecasts.md", "\n".join(lines)),
    ]


def write_tables(folder: Path, render: Callable[[str], str]) -> list[Path]:
    """Write a table into a folder in every format; returns the paths."""
    return [
        write(folder / f"table.{suffix}", render(form)) for form, suffix in table.SUFFIXES.items()
    ]


def write(path: Path, text: str) -> Path:
    """Write a text file with one newline at its end; returns its path."""
    write_text(path, text.rstrip("\n") + "\n")
    return path


def read_json(path: Path) -> Any:
    """The content of a JSON file written by this project, or None if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def sample_figures(results: Results, evaluator: Evaluator, folder: Path) -> list[Path]:
    """Figures of base, main, guide and guided samples from the same seeds.

    If there are training data, also of the distances from the samples to the nearest of them; if
    some data were held out, with the share of samples that are nearest to one of training.
    """
    from study.report import figures

    spec, written, distances = results.spec, [], dict[str, Tensor]()
    shares: dict[str, tuple[float, float, float]] = {}
    rest, trained_on = evaluator.base.held_out, evaluator.base.trained_on
    whole = evaluator.base.data if rest is None or trained_on is None else trained_on
    every = -(-(len(whole.samples) + (len(rest.samples) if rest else 0)) // MOST_DATA) or 1
    data, held_out = whole.samples[::every], None if rest is None else rest.samples[::every]

    def measure(name: str, samples: Tensor) -> None:
        if name not in distances:
            distances[name] = nearest(samples, data)
            if held_out is not None:
                shares[name] = training_share(samples, data, held_out)

    if len(data):
        shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
        order = torch.split(shuffled, 4 * MEASURED)
        alone = len(order) == 1
        distances["data"] = (
            nearest_other(data) if alone else nearest(data[order[0]], data[torch.cat(order[1:])])
        )
    few = MEASURED if len(data) else SHOWN  # without distances only the shown samples are needed
    draw = cache(evaluator.samples)
    for index, pairing in enumerate(spec.pairings):
        tested = next(iter(results.tested(pairing)), None)
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
            measure("base", drawn["base"])
            measure(f"{pairing.name}, w {tested.weight:g}", list(drawn.values())[-1])
    if not distances:
        return written
    written.append(figures.save(figures.nearest(distances, shares), folder / "nearest.png"))
    medians = {name: float(d.median()) for name, d in distances.items()}
    found: dict[str, Any] = {"median distance to nearest": medians}
    if held_out is not None:
        expected = len(data) / (len(data) + len(held_out))
        found["share nearest to training data, not held out"] = {"expected": expected, **shares}
    written.append(write(folder / "nearest.json", json.dumps(found, indent=2)))
    return written


def _few(task: Task, spec: StudySpec, n: int) -> Task:
    return Task(**{**vars(task), "samples": n, "seed": spec.seeds[0]})
