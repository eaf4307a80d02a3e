"""How figures are drawn and saved, and the curves of a training. Every point is a measurement read from a file.

What is missing gives no figure. Each figure carries the points that it shows, and is saved with them beside it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlcompress.recording.meters import HOST
from rlcompress.words import FloatArray

INK, MUTED, GRID = "#1f2933", "#8a94a0", "#e5e8ec"
ACCENT, SECOND = "#0b7285", "#c2570c"  # the reference method, and the best of the others
WATCHED = ("reward/", "heldout/", "validation/")  # groups of metrics that learning curves show
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "path",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure and every point in it, e.g. `{"method": "rl", "achieved_rate": 0.48, "mean": 3.18, ...}`."""

    figure: Figure
    points: list[dict[str, Any]]


def styled() -> Any:
    """Context in which all figures are drawn."""
    return matplotlib.rc_context(_STYLE)


def svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element; `name` keeps its inner ids apart from those of other figures."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save(plot: Plot, folder: Path, stem: str) -> None:
    """Write `stem.png`, `stem.pdf` and the points as `stem.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    plot.figure.savefig(folder / f"{stem}.png", dpi=160)
    plot.figure.savefig(folder / f"{stem}.pdf", metadata={"CreationDate": None})
    with (folder / f"{stem}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(plot.points[0]))
        writer.writeheader()
        writer.writerows(plot.points)


def learning_curves(*runs: Sequence[Mapping[str, Any]]) -> Plot | None:
    """One panel a reward term, held-out and validation metric against the iteration; none where nothing was logged.

    Several runs are a thin line each, and their mean where all have a value.
    """
    names = sorted(
        {key for rows in runs for row in rows for key in row if key.startswith(WATCHED) and not key.endswith("_std")},
        key=lambda name: (not name.startswith("reward/"), name != "reward/mean", name),
    )
    return _panels(runs, names)


def cost_curves(rows: Sequence[Mapping[str, Any]]) -> Plot | None:
    """One panel a figure of throughput, time or memory against the iteration; none where nothing was logged."""
    return _panels([rows], sorted({key for row in rows for key in row if key.startswith(HOST)}), from_zero=True)


def _panels(runs: Sequence[Sequence[Mapping[str, Any]]], names: Sequence[str], from_zero: bool = False) -> Plot | None:
    """Small multiples of (iteration, value) curves; what no update has seen is in the second colour."""
    curves = {name: [curve(rows, name) for rows in runs] for name in names}
    curves = {name: lines for name, lines in curves.items() if any(len(line) for line in lines)}
    if not curves:
        return None
    columns = min(3, len(curves))
    lines_of_panels = -(-len(curves) // columns)
    figure = Figure(figsize=(9.6, 2.4 * lines_of_panels + 0.2), layout="constrained")
    panels = figure.subplots(lines_of_panels, columns, squeeze=False).ravel().tolist()
    for axes, (name, lines) in zip(panels, curves.items(), strict=False):
        colour = ACCENT if name.startswith("reward/") or from_zero else SECOND
        for line_I2 in lines:
            marker = "o" if len(line_I2) <= 40 and len(lines) == 1 else None
            thin = {"lw": 0.8, "alpha": 0.5} if len(lines) > 1 else {"lw": 1.4}
            axes.plot(*line_I2.T, color=colour, marker=marker, ms=3, **thin)
        if len(lines) > 1 and len(mean_I2 := mean_curve(lines)):
            axes.plot(*mean_I2.T, color=colour, lw=2)
        axes.set_title(name, loc="left", fontsize=9, fontweight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if from_zero:
            axes.set_ylim(bottom=0)
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(curves) - columns) : len(curves)]:
        axes.set_xlabel("iteration")
    points = [
        {"metric": name, "run": number, "step": step, "value": value}
        for name, lines in curves.items()
        for number, line_I2 in enumerate(lines)
        for step, value in line_I2.tolist()
    ]
    return Plot(figure, points)


def curve(rows: Sequence[Mapping[str, Any]], name: str) -> FloatArray:
    """Logged points [I, 2] (iteration, value) of one metric; lines without a finite value are left out."""
    points = [
        (float(row["step"]), float(row[name]))
        for row in rows
        if isinstance(row.get(name), int | float) and isinstance(row.get("step"), int | float)
    ]
    points_I2 = np.asarray(points, np.float64).reshape(-1, 2)
    return points_I2[np.isfinite(points_I2).all(1)]


def mean_curve(lines: Sequence[FloatArray]) -> FloatArray:
    """Points [I, 2] of the mean at the iterations at which every line has a value."""
    values = [dict(line_I2.tolist()) for line_I2 in lines]
    common = sorted(set(values[0]).intersection(*values[1:]))
    return np.asarray([(step, np.mean([each[step] for each in values])) for step in common]).reshape(-1, 2)
