"""The figures of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from study.files.atomic import replacing
from study.files.images import to_uint8
from study.records.results import Results
from study.records.task import BASE, Task
from study.specs import CONSTANT, PairingSpec

COLOURS = {"independent": "#2166ac", "shared": "#b2560d"}


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically."""
    FigureCanvasAgg(figure)
    with replacing(path) as part:
        figure.savefig(part, dpi=130)
    return path


def curves(results: Results, table: Sequence[dict[str, Any]]) -> Figure:
    """FD against the guidance weight, one panel per main and guide, with the confirmed results.

    Everything is relative to the base's FD on the same seeds, which removes variation common to all
    weights. Lines: the search (one seed set, common to all weights); dotted: its endpoint probe, of
    main and guide sampled alone; points with bars: base, main and best weight, mean ± standard
    deviation over the confirmation's seed sets.
    """
    pairs = list(dict.fromkeys((pairing.main, pairing.guide) for pairing in results.spec.pairings))
    columns = min(2, len(pairs)) or 1
    lines = max(1, -(-len(pairs) // columns))
    figure = Figure(figsize=(5.2 * columns, 3.5 * lines + 0.4), layout="constrained")
    metric = table[0]["metric"] if table else results.primary
    for index, (main, guide) in enumerate(pairs):
        axes = figure.add_subplot(lines, columns, index + 1)
        of_pair = [row for row in table if (row["main"], row["guide"]) == (main, guide)]
        axes.set_title(f"{main} → {guide}", fontsize=11)
        axes.axhline(1, color="#555555", lw=1, ls="--", label="base")
        for row in of_pair:
            _curve(axes, results, row, metric)
        _main(axes, results, main, metric)
        axes.set_ylim(0, 3)
        low, high = results.spec.search.weight
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        if all(row["verdict"] == "no gain" for row in of_pair):
            axes.text(
                0.97,
                0.93,
                "no gain",
                transform=axes.transAxes,
                ha="right",
                fontsize=10,
                color="#555555",
            )
        axes.set_xlabel("guidance weight w")
        axes.set_ylabel(f"{metric} / that of the base")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7.5, frameon=False, ncols=2, loc="lower center", columnspacing=1.0)
    return figure


def _curve(axes: Any, results: Results, row: dict[str, Any], metric: str) -> None:
    pairing = PairingSpec(row["main"], row["guide"], row["coupling"], row["rule"])
    colour, base = COLOURS[row["coupling"]], results.values([results.single(BASE)], metric)
    found = sorted(
        (e.task.weight, e.scores[metric], e.outcome.pruned)
        for e in results.searches[pairing]
        if metric in e.scores
    )
    if found and base:
        weights, values, _ = zip(*found, strict=True)
        label = f"{row['coupling']} draws"
        label += "" if row["rule"] == CONSTANT else f", {row['rule']}"
        axes.plot(
            weights, np.divide(values, base[0]), "o-", ms=3.5, lw=1.2, color=colour, label=label
        )
        ended = [(w, value / base[0]) for w, value, early in found if early]
        if ended:  # open markers, as their scores are estimates
            axes.plot(*zip(*ended, strict=True), "o", ms=3.5, mfc="white", color=colour)
    ends = results.shared.get(results.endpoints(pairing))
    if base and ends and metric in ends.outcome.curve:
        curve = ends.outcome.curve
        axes.plot(
            curve["weight"],
            np.divide(curve[metric], base[0]),
            ":",
            lw=1,
            color=colour,
            label="predicted by endpoints",
        )
    if row["weight"] != 1:
        recovered = "" if row["recovered"] is None else f", recovered {row['recovered']:.2f}"
        label = f"confirmed at w = {row['weight']:.2f}{recovered}"
        (tested,) = results.tested(pairing, metric)
        _point(axes, results, row["weight"], results.confirmed(tested), metric, "D", colour, label)


def _main(axes: Any, results: Results, main: str, metric: str) -> None:
    _point(axes, results, 1.0, results.confirmed_single(main), metric, "s", "#222222", "main alone")


def _point(
    axes: Any,
    results: Results,
    weight: float,
    tasks: list[Task],
    metric: str,
    mark: str,
    colour: str,
    label: str,
) -> None:
    """Mean ± standard deviation over the seed sets that are known, relative to the base."""
    base, found = results.sets(results.confirmed_single(BASE), metric), results.sets(tasks, metric)
    n = min(len(base), len(found))
    if n > 1:
        ratio = found.values[:n] / base.values[:n]
        axes.errorbar(
            [weight],
            [ratio.mean()],
            [ratio.std(ddof=1)],
            fmt=mark,
            ms=6,
            mfc="white",
            capsize=3,
            color=colour,
            zorder=5,
            label=label,
        )


def heat(
    values: pd.DataFrame,
    title: str,
    low: float,
    high: float,
    colours: str = "RdBu",
    marks: pd.DataFrame | None = None,
) -> Figure:
    """A heat map over mains (rows) and guides (columns), blank for NaN; marks: appended texts."""
    lines, columns = values.shape
    figure = Figure(figsize=(2.4 + 0.72 * columns, 1.9 + 0.42 * lines), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(values.to_numpy(float), cmap=colours, vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(
        range(columns), map(_short, values.columns), rotation=40, ha="right", fontsize=8
    )
    axes.set_yticks(range(lines), map(_short, values.index), fontsize=8)
    axes.set_xlabel("guide")
    axes.set_ylabel("main")
    axes.set_title(title, fontsize=10)
    for (i, j), value in np.ndenumerate(values.to_numpy(float)):
        if np.isfinite(value):
            dark = value > low + 0.7 * (high - low) or (
                colours == "RdBu" and value < low + 0.2 * (high - low)
            )
            mark = "" if marks is None else marks.to_numpy()[i, j]
            axes.text(
                j,
                i,
                f"{value:.2f}{mark}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
            )
    figure.colorbar(shown, ax=axes, shrink=0.8)
    return figure


def _short(name: str, most: int = 32) -> str:
    """A name, or only its end if it is longer than `most` characters."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def samples(grids: Mapping[str, Tensor]) -> Figure:
    """Samples of several denoisers from the same seeds, one row or panel each.

    Samples are images [n, C, H, W] in [−1, 1] or points [n, 2].
    """
    points = next(iter(grids.values())).ndim == 2
    return _points(grids) if points else _images(grids)


def _images(grids: Mapping[str, Tensor]) -> Figure:
    shape = next(iter(grids.values())).shape
    # height of the images when a row of them fills 0.79 of the width
    line = 8.6 / shape[0] * shape[2] / shape[3]
    figure = Figure(figsize=(9.5, line * len(grids) + 0.1))
    for index, (name, images) in enumerate(grids.items()):
        axes = figure.add_axes((0.2, 1 - (index + 0.95) / len(grids), 0.79, 0.9 / len(grids)))
        axes.imshow(tile(images, rows=1), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.text(
            -0.01,
            0.5,
            _short(name, 26),
            transform=axes.transAxes,
            ha="right",
            va="center",
            fontsize=9,
        )
        axes.axis("off")
    return figure


def _points(grids: Mapping[str, Tensor]) -> Figure:
    columns = min(4, len(grids))
    lines = -(-len(grids) // columns)
    figure = Figure(figsize=(3 * columns, 3 * lines), layout="constrained")
    for index, (name, points) in enumerate(grids.items()):
        axes = figure.add_subplot(lines, columns, index + 1)
        axes.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=0.4, lw=0, color="#222222")
        axes.set_title(_short(name), fontsize=8)
        axes.set_aspect("equal")
        axes.set_xlim(-1.4, 1.4)
        axes.set_ylim(-1.5, 1.0)
        axes.axis("off")
    return figure


def nearest(
    distances: Mapping[str, Tensor], shares: Mapping[str, tuple[float, float, float]]
) -> Figure:
    """Cumulative distribution of the distances from samples to their nearest training datum.

    The legend has the medians, and where some data were held out the share of samples whose nearest
    datum is one of training, with the ends of its interval.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, d in distances.items():
        lead = {"color": "#222222", "lw": 2.2} if name == "data" else {"lw": 1.1}
        share = np.arange(1, len(d) + 1) / len(d)
        axes.plot(
            d.sort().values.numpy(),
            share,
            label=f"{name}: median {float(d.median()):.3g}"
            + (
                "\n  nearest to training {:.2f} [{:.2f}, {:.2f}]".format(*shares[name])
                if name in shares
                else ""
            ),
            **lead,
        )
    axes.set_xlim(left=0, right=max(float(d.quantile(0.99)) for d in distances.values()))
    axes.set_xlabel("distance to the nearest training datum (of data: to the nearest other)")
    axes.set_ylabel("share of samples")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    return figure


def tile(
    images: Tensor, rows: int | None = None, gap: int = 1
) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """A grid of images [n, C, H, W] in [−1, 1], C = 1 or 3, as uint8 [H', W'] or [H', W', 3]."""
    n, channels, height, width = images.shape
    rows = rows or max(1, int(np.sqrt(n)))
    columns = -(-n // rows)
    canvas = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, dtype=np.uint8
    )
    for index, image in enumerate(to_uint8(images)):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas[..., 0] if channels == 1 else canvas
