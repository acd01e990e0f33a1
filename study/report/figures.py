"""The figures of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from study.files.atomic import replacing
from study.files.images import to_uint8
from study.records import Results

COLOURS = {"independent": "#2166ac", "shared": "#b2560d"}


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    FigureCanvasAgg(figure)
    with replacing(path) as part:
        figure.savefig(part, dpi=130)
    return path


def curves(results: Results, table: Sequence[dict[str, Any]]) -> Figure:
    """FD against the guidance weight, a panel for each main and guide, with base, main and the confirmed best marked.

    Lines: the search (one seed set, common to all weights); points with bars: mean ± standard deviation over the
    confirmation's seed sets.
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
        for row in of_pair:
            _curve(axes, results, row, metric)
        _levels(axes, of_pair[0])
        axes.set_xlabel("guidance weight w")
        axes.set_ylabel(metric)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    return figure


def _curve(axes: Any, results: Results, row: dict[str, Any], metric: str) -> None:
    key = (row["main"], row["guide"], row["coupling"])
    pairing = next(p for p in results.spec.pairings if (p.main, p.guide, p.coupling) == key)
    found = sorted((e.task.weight, e.scores[metric]) for e in results.searches[pairing] if metric in e.scores)
    colour = COLOURS[row["coupling"]]
    if found:
        axes.plot(*zip(*found, strict=True), "o-", ms=3.5, lw=1.2, color=colour, label=f"{row['coupling']} draws")
    if row["fd"] is not None and row["weight"] != 1:
        recovered = "" if row["recovered"] is None else f", recovered {row['recovered']:.2f}"
        axes.errorbar([row["weight"]], [row["fd"]], [row["fd_sd"]], fmt="D", ms=7, mfc="white", capsize=3, color=colour,
                      zorder=5, label=f"confirmed at w = {row['weight']:.2f}{recovered}")  # fmt: skip


def _levels(axes: Any, row: dict[str, Any]) -> None:
    """Lines for base and main; the axis ends where a curve leaves what can be compared with them."""
    base, main = row["fd_base"], row["fd_main"]
    if base is None or main is None:
        return
    axes.axhline(base, color="#555555", lw=1, ls="--", label="base")
    axes.axhline(main, color="#999999", lw=1, ls=":", label="main alone")
    axes.set_ylim(bottom=0, top=min(axes.get_ylim()[1], 3 * max(base, main)))
    if row["verdict"] == "no gain":
        axes.text(
            0.98, 0.05, "no gain at any weight", transform=axes.transAxes, ha="right", fontsize=9, color="#555555"
        )


def samples(grids: Mapping[str, Tensor]) -> Figure:
    """Samples of several denoisers from the same seeds: a row each; images [n, 1, H, W] in [−1, 1] or points [n, 2]."""
    points = next(iter(grids.values())).ndim == 2
    return _points(grids) if points else _images(grids)


def _images(grids: Mapping[str, Tensor]) -> Figure:
    figure = Figure(figsize=(9, 0.62 * len(grids) + 0.1), layout="constrained")
    for index, (name, images) in enumerate(grids.items()):
        axes = figure.add_subplot(len(grids), 1, index + 1)
        axes.imshow(tile(images, rows=1), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def _points(grids: Mapping[str, Tensor]) -> Figure:
    columns = min(4, len(grids))
    lines = -(-len(grids) // columns)
    figure = Figure(figsize=(3 * columns, 3 * lines), layout="constrained")
    for index, (name, points) in enumerate(grids.items()):
        axes = figure.add_subplot(lines, columns, index + 1)
        axes.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=0.4, lw=0, color="#222222")
        axes.set_title(name, fontsize=8)
        axes.set_aspect("equal")
        axes.set_xlim(-1.4, 1.4)
        axes.set_ylim(-1.5, 1.0)
        axes.axis("off")
    return figure


def nearest(distances: Mapping[str, Tensor]) -> Figure:
    """How far samples are from their nearest training datum, a histogram each, with the medians in the legend."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    most = max(float(d.quantile(0.995)) for d in distances.values())
    for name, d in distances.items():
        lead = {"color": "#222222", "lw": 2.2} if name == "data" else {"lw": 1.2}
        axes.hist(d.numpy(), bins=np.linspace(0, most, 60).tolist(), histtype="step", density=True,
                  label=f"{name}: median {float(d.median()):.3g}", **lead)  # fmt: skip
    axes.set_xlabel("distance to the nearest training datum")
    axes.set_ylabel("density")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def tile(images: Tensor, rows: int | None = None, gap: int = 1) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """A grid of images [n, C, H, W] in [−1, 1], C = 1 or 3, as uint8 [H', W'] or [H', W', 3]."""
    n, channels, height, width = images.shape
    rows = rows or max(1, int(np.sqrt(n)))
    columns = -(-n // rows)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, dtype=np.uint8)
    for index, image in enumerate(to_uint8(images)):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas[..., 0] if channels == 1 else canvas
