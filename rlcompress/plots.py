"""Figures of a report. Every point is a measurement read from a file; what is missing gives no figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlcompress.meters import HOST
from rlcompress.metrics import METRICS
from rlcompress.summary import Row, is_significant, ranked

INK, MUTED, GRID = "#1f2933", "#8a94a0", "#e5e8ec"
ACCENT, SECOND = "#0b7285", "#c2570c"  # the reference method, and the best of the others
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


def learning_curves(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """One panel a reward term and a validation metric against the iteration; none where nothing was logged."""
    names = sorted(
        {k for row in rows for k in row if k.startswith(("reward/", "validation/")) and not k.endswith("_std")},
        key=_panel_order,
    )
    return _panels({name: points for name in names if len(points := curve(rows, name)) > 0})


def cost_curves(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """One panel a figure of throughput, time or memory against the iteration; none where nothing was logged."""
    names = sorted({key for row in rows for key in row if key.startswith(HOST)})
    return _panels({name: points for name in names if len(points := curve(rows, name)) > 0}, from_zero=True)


def _panels(series: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]], from_zero: bool = False) -> Figure | None:
    """Small multiples of (iteration, value) curves, validation in the second colour."""
    if not series:
        return None
    columns = min(3, len(series))
    lines = -(-len(series) // columns)
    figure = Figure(figsize=(9.6, 2.4 * lines + 0.2), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for axes, (name, points_I2) in zip(panels, series.items(), strict=False):
        colour = SECOND if name.startswith("validation/") else ACCENT
        few = len(points_I2) <= 40
        axes.plot(*points_I2.T, color=colour, lw=1.4, marker="o" if few else None, ms=3)
        axes.set_title(name, loc="left", fontsize=9, fontweight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if from_zero:
            axes.set_ylim(bottom=0)
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(series) - columns) : len(series)]:
        axes.set_xlabel("iteration")
    return figure


def curve(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Logged points [I, 2] (iteration, value) of one metric; lines without a finite value are left out."""
    points = [
        (float(row["step"]), float(row[name]))
        for row in rows
        if isinstance(row.get(name), int | float) and isinstance(row.get("step"), int | float)
    ]
    points_I2 = np.asarray(points, np.float64).reshape(-1, 2)
    return points_I2[np.isfinite(points_I2).all(1)]


def _panel_order(name: str) -> tuple[bool, bool, str]:
    return (name.startswith("validation/"), name != "reward/mean", name)


def rate_curve(document: Row, metric: str) -> Figure | None:
    """The metric against the achieved rate, one line a method, with intervals; methods are labelled at their line.

    Methods that keep everything have no rate to choose and are left out.
    """
    rows = _compressing(document, metric)
    if not rows:
        return None
    colours = _colours(document, rows)
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, str]] = []
    right = max(row["achieved_rate"] for row in rows)
    for method in sorted(colours, key=lambda name: colours[name] != MUTED):  # coloured lines on top
        line = sorted((row for row in rows if row["method"] == method), key=lambda row: row["achieved_rate"])
        x, y = [row["achieved_rate"] for row in line], [row["mean"] for row in line]
        bold = colours[method] != MUTED
        axes.plot(x, y, color=colours[method], lw=2.2 if bold else 1, marker="o", ms=5 if bold else 3)
        known = [row for row in line if row["ci_low"] is not None]
        axes.vlines(
            [row["achieved_rate"] for row in known],
            [row["ci_low"] for row in known],
            [row["ci_high"] for row in known],
            color=colours[method],
            lw=1.6 if bold else 0.8,
        )
        ends.append((y[-1], method))
    _label_ends(axes, right, ends, colours)
    axes.set_xticks(sorted({row["rate"] for row in rows}))
    axes.set_xlabel("achieved kept fraction (reader tokens)")
    axes.set_ylabel(_axis_name(metric))
    return figure


def _compressing(document: Row, metric: str) -> list[Row]:
    """Defined figures of methods that dropped something, best first within each rate."""
    return [row for row in ranked(document, metric) if row["mean"] is not None and row["achieved_rate"] < 1]


def _label_ends(axes: Axes, right: float, ends: list[tuple[float, str]], colours: Mapping[str, str]) -> None:
    """Method names at the right, pushed apart so that they do not overlap, in the order of their lines."""
    low, high = axes.get_ylim()
    left = axes.get_xlim()[0]
    span = max(right - left, 0.02)
    gap = (high - low) / 30
    ordered = sorted(ends)
    places = np.asarray([y for y, _ in ordered])
    for _ in range(200):
        close = np.flatnonzero(np.diff(places) < gap * 0.999)
        if not len(close):
            break
        for i in close:
            middle = (places[i] + places[i + 1]) / 2
            places[i], places[i + 1] = middle - gap / 2, middle + gap / 2
    for (y, method), place in zip(ordered, places, strict=True):
        colour = colours[method]
        axes.annotate(
            method,
            xy=(right + 0.01 * span, y),
            xytext=(right + 0.06 * span, place),
            color=INK if colour == MUTED else colour,
            fontweight="normal" if colour == MUTED else "bold",
            fontsize=8.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": GRID, "lw": 0.8, "shrinkA": 0, "shrinkB": 0},
        )
    axes.set_xlim(left, right + 0.32 * span)
    axes.set_ylim(min(low, places[0] - gap), max(high, places[-1] + gap))


def bars(document: Row, metric: str) -> Figure | None:
    """One panel a rate: methods best first, with intervals; a star marks a significant difference to the reference."""
    rows = _compressing(document, metric)
    if not rows:
        return None
    rates = sorted({row["rate"] for row in rows}, reverse=True)
    against = {(c["against"], c["rate"]): c for c in document["comparisons"] if c["metric"] == metric}
    colours = _colours(document, rows)
    most = max(sum(row["rate"] == rate for row in rows) for rate in rates)
    figure = Figure(figsize=(9.6, 0.27 * most * -(-len(rates) // 2) + 0.9 * -(-len(rates) // 2)))
    figure.set_layout_engine("constrained", h_pad=0.12)
    panels = figure.subplots(-(-len(rates) // 2), min(2, len(rates)), squeeze=False).ravel().tolist()
    for axes, rate in zip(panels, rates, strict=False):
        here = [row for row in rows if row["rate"] == rate]
        places = np.arange(len(here))
        means = [row["mean"] for row in here]
        axes.barh(places, means, color=[colours[row["method"]] for row in here], height=0.62, alpha=0.85)
        reach = max(max(row["ci_high"] or row["mean"] for row in here), 1e-9)
        for place, row in zip(places, here, strict=True):
            if row["ci_low"] is not None:
                axes.hlines(place, row["ci_low"], row["ci_high"], color=INK, lw=1.2)
            mark = " *" if is_significant(against.get((row["method"], rate))) else ""
            end = (row["ci_high"] or row["mean"]) + 0.015 * reach
            axes.text(end, place, f"{row['mean']:.3f}{mark}", va="center", fontsize=8)
        axes.set_yticks(places, [row["method"] for row in here])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, reach * 1.2)
        axes.set_title(f"requested rate {rate:g}", loc="left", fontsize=9, fontweight="bold")
        axes.set_xlabel(_axis_name(metric))
    for axes in panels[len(rates) :]:
        axes.set_axis_off()
    return figure


def _colours(document: Row, rows: Sequence[Row]) -> dict[str, str]:
    """Colour of each method: the reference, the best other one at the highest rate, grey for the rest."""
    reference = document["settings"]["reference"]
    colours = {row["method"]: MUTED for row in rows}
    others = [row["method"] for row in rows if row["method"] != reference]  # best first
    if others:
        colours[others[0]] = SECOND
    if reference in colours:
        colours[reference] = ACCENT
    return colours


def _axis_name(metric: str) -> str:
    better = METRICS[metric].better
    return metric if better == "neither" else f"{metric} ({better} is better)"
