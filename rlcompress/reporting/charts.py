"""Figures of results: every method at every rate against what it kept, what it cost and the text it was given.

The method that all are compared with is teal, the best other one at the highest rate orange, the rest grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from rlcompress.measuring.metrics import METRICS
from rlcompress.measuring.summary import Row
from rlcompress.measuring.tables import compared, is_significant, ranked
from rlcompress.reporting.plots import ACCENT, GRID, INK, MUTED, SECOND, Plot

LEAST_POINTS = 3  # operating points of a curve; a line through fewer would claim what nobody measured
_SHOWN = ("method", "rate", "achieved_rate", "metric", "mean", "ci_low", "ci_high", "n")
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#bcdde2", ACCENT])


def rate_curve(document: Row, metric: str) -> Plot | None:
    """The metric against the achieved rate, with intervals; a method's points are joined, by dots below three of them.

    Methods that keep everything have no rate to choose and are left out; the metric's baseline is a level.
    """
    rows = compressing(document, metric)
    if not rows:
        return None
    colours = _colours(document, rows)
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, float, str]] = []
    right = max(row["achieved_rate"] for row in rows)
    for method in _coloured_last(colours):
        line = sorted((row for row in rows if row["method"] == method), key=lambda row: row["achieved_rate"])
        x, y = [row["achieved_rate"] for row in line], [row["mean"] for row in line]
        bold = colours[method] != MUTED
        joined = "-" if len(line) >= LEAST_POINTS else ":"
        axes.plot(x, y, color=colours[method], ls=joined, lw=2.2 if bold else 1, marker="o", ms=5 if bold else 3)
        _intervals(axes.vlines, x, line, colours[method])
        ends.append((x[-1], y[-1], method))
    level = _baseline(document, metric)
    if level is not None:
        axes.axhline(level["mean"], color=MUTED, lw=1, ls="--", zorder=1)
        ends.append((right, level["mean"], level["method"]))
        colours |= {level["method"]: MUTED}
    left, span = axes.get_xlim()[0], max(right - axes.get_xlim()[0], 0.02)
    _label(axes, ends, right + 0.06 * span, colours)
    axes.set_xlim(left, right + 0.32 * span)
    axes.set_xticks(sorted({row["rate"] for row in rows}))
    axes.set_xlabel("achieved kept fraction (reader tokens)")
    axes.set_ylabel(_axis_name(metric))
    return Plot(figure, _points([*rows, *([level] if level else [])]))


def _baseline(document: Row, metric: str) -> Row | None:
    """The figure of the metric's baseline, where it keeps everything: then it has one for all rates."""
    name = METRICS[metric].baseline
    rows = [row for row in document["results"] if (row["method"], row["metric"]) == (name, metric)]
    return rows[0] if rows and rows[0]["mean"] is not None and rows[0]["achieved_rate"] == 1 else None


def bars(document: Row, metric: str) -> Plot | None:
    """One panel a rate: methods best first, with intervals; a star marks a significant difference to the reference."""
    rows = compressing(document, metric)
    if not rows:
        return None
    rates = _rates(rows)
    against = compared(document)
    starred = {(method, rate) for (method, rate, name), c in against.items() if name == metric and is_significant(c)}
    colours = _colours(document, rows)
    figure, panels = _panels(rows, rates)
    for axes, rate in zip(panels, rates, strict=False):
        here = [row for row in rows if row["rate"] == rate]
        places = list(range(len(here)))
        means = [row["mean"] for row in here]
        axes.barh(places, means, color=[colours[row["method"]] for row in here], height=0.62, alpha=0.85)
        reach = max(max(row["ci_high"] or row["mean"] for row in here), 1e-9)
        for place, row in zip(places, here, strict=True):
            if row["ci_low"] is not None:
                axes.hlines(place, row["ci_low"], row["ci_high"], color=INK, lw=1.2)
            star = " *" if (row["method"], rate) in starred else ""
            end = (row["ci_high"] or row["mean"]) + 0.015 * reach
            axes.text(end, place, f"{row['mean']:.3f}{star}", va="center", fontsize=8)
        axes.set_yticks(places, [row["method"] for row in here])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, reach * 1.2)
        axes.set_xlabel(_axis_name(metric))
    significant = [{**point, "significant": (point["method"], point["rate"]) in starred} for point in _points(rows)]
    return Plot(figure, significant)


def heat_map(document: Row, metric: str) -> Plot | None:
    """Methods by rates, darker where better among the methods of one rate; none for a single rate."""
    rows = compressing(document, metric)
    rates = _rates(rows)
    if len(rates) < 2:
        return None
    found = {(row["method"], row["rate"]): row["mean"] for row in rows}
    methods = list(dict.fromkeys(row["method"] for row in rows))  # best first at the highest rate
    shade_MR = np.full((len(methods), len(rates)), np.nan)
    for r, rate in enumerate(rates):
        known = np.asarray([found.get((method, rate), np.nan) for method in methods])
        low, high = np.nanmin(known), np.nanmax(known)
        share = (known - low) / (high - low) if high > low else np.zeros(len(known))
        shade_MR[:, r] = share if METRICS[metric].better == "higher" else 1 - share
    figure = Figure(figsize=(2.6 + 1.2 * len(rates), 0.32 * len(methods) + 0.8), layout="constrained")
    axes = figure.subplots()
    places = range(len(rates)), range(len(methods))  # cells as shapes: an image would be pixels in a page of vectors
    axes.pcolormesh(*places, shade_MR, cmap=_SHADES, vmin=0, vmax=1, shading="nearest")
    axes.invert_yaxis()
    for m, method in enumerate(methods):
        for r, rate in enumerate(rates):
            if (method, rate) in found:
                colour = "white" if shade_MR[m, r] > 0.75 else INK
                axes.text(r, m, f"{found[method, rate]:.3f}", ha="center", va="center", fontsize=8.5, color=colour)
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(methods)), methods)
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_title(f"{_axis_name(metric)} by requested rate", loc="left", fontsize=9, fontweight="bold")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    reference = document["settings"]["reference"]
    for label in axes.get_yticklabels():
        if label.get_text() == reference:
            label.set(color=ACCENT, fontweight="bold")
    return Plot(figure, _points(rows))


def passes_scatter(document: Row, metric: str) -> Plot | None:
    """One panel a rate: the metric against the model passes that a method takes for a text; none without passes."""
    passes = document.get("passes", {})
    rows = [row for row in compressing(document, metric) if row["method"] in passes]
    if not any(passes[row["method"]] for row in rows):
        return None
    rates, colours = _rates(rows), _colours(document, rows)
    figure, panels = _panels(rows, rates, row_height=0.3)
    most = max(passes[row["method"]] for row in rows)
    for axes, rate in zip(panels, rates, strict=False):
        here = [row for row in rows if row["rate"] == rate]
        axes.set_xscale("symlog", linthresh=1)
        for row in here:
            x, colour = passes[row["method"]], colours[row["method"]]
            axes.plot([x], [row["mean"]], color=colour, marker="o", ms=5, ls="none")
            _intervals(axes.vlines, [x], [row], colour)
        axes.set_xlim(-0.3, (most + 1) * 6)
        for x in sorted({passes[row["method"]] for row in here}):
            stack = [(x, row["mean"], row["method"]) for row in here if passes[row["method"]] == x]
            _label(axes, stack, x + 0.18 + 0.25 * x, colours)
        ticks = [0, *(10**k for k in range(len(str(int(most)))))]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("model passes a text")
        axes.set_ylabel(_axis_name(metric))
    return Plot(figure, [{"passes": passes[point["method"]], **point} for point in _points(rows)])


def slice_chart(document: Row, name: str, metric: str) -> Plot | None:
    """One panel a rate: the metric in each slice of the slicing `name`, a dot a method, intervals of the coloured."""
    rows = [
        row
        for row in document.get("slices", [])
        if (row["slice"], row["metric"]) == (name, metric) and row["mean"] is not None and row["achieved_rate"] < 1
    ]
    if not rows:
        return None
    rates, colours = _rates(rows), _colours(document, compressing(document, metric))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    figure, panels = _panels(rows, rates, most=len(labels) + 1, row_height=0.36)
    for axes, rate in zip(panels, rates, strict=False):
        here = [row for row in rows if row["rate"] == rate]
        for method in _coloured_last(colours):
            line = [row for row in here if row["method"] == method]
            offset = {ACCENT: -0.12, SECOND: 0.12}.get(colours[method], 0.0)
            places = [labels.index(row["label"]) + offset for row in line]
            bold = colours[method] != MUTED
            shown = {"ms": 6, "label": method} if bold else {"ms": 3, "alpha": 0.8}
            axes.plot([row["mean"] for row in line], places, color=colours[method], ls="none", marker="o", **shown)
            if bold:
                _intervals(axes.hlines, places, line, colours[method])
        counts = {row["label"]: row["n"] for row in reversed(here)}
        axes.set_yticks(range(len(labels)), [f"{label}  (n {counts.get(label, 0)})" for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel(_axis_name(metric))
    handles, methods = panels[0].get_legend_handles_labels()
    figure.legend(handles[::-1], methods[::-1], loc="outside upper right", ncols=2, frameon=False)
    return Plot(figure, [{"slice": row["slice"], "label": row["label"], **_points([row])[0]} for row in rows])


def compressing(document: Row, metric: str) -> list[Row]:
    """Defined figures of methods that dropped something, best first within each rate."""
    return [row for row in ranked(document, metric) if row["mean"] is not None and row["achieved_rate"] < 1]


def _points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in _SHOWN} for row in rows]


def _rates(rows: Sequence[Row]) -> list[float]:
    return sorted({row["rate"] for row in rows}, reverse=True)


def _panels(
    rows: Sequence[Row], rates: Sequence[float], most: int | None = None, row_height: float = 0.27
) -> tuple[Figure, list[Axes]]:
    """A panel a rate, two beside each other, high enough for `most` lines of text (one a method)."""
    most = most or max(sum(row["rate"] == rate for row in rows) for rate in rates)
    lines = -(-len(rates) // 2)
    figure = Figure(figsize=(9.6, (row_height * most + 0.9) * lines))
    figure.set_layout_engine("constrained", h_pad=0.12)
    panels = figure.subplots(lines, min(2, len(rates)), squeeze=False).ravel().tolist()
    for axes, rate in zip(panels, rates, strict=False):
        axes.set_title(f"requested rate {rate:g}", loc="left", fontsize=9, fontweight="bold")
    for axes in panels[len(rates) :]:
        axes.set_axis_off()
    return figure, panels


def _intervals(draw: Any, places: Sequence[float], rows: Sequence[Row], colour: str) -> None:
    """Intervals of those rows that have one, by `axes.vlines` or `axes.hlines`."""
    known = [(place, row) for place, row in zip(places, rows, strict=True) if row["ci_low"] is not None]
    low, high = [row["ci_low"] for _, row in known], [row["ci_high"] for _, row in known]
    draw([place for place, _ in known], low, high, color=colour, lw=0.8 if colour == MUTED else 1.6)


def _label(axes: Axes, ends: Iterable[tuple[float, float, str]], x: float, colours: Mapping[str, str]) -> None:
    """Names at `x` of the points (x, y, name), pushed apart so that they do not overlap, in the order of the points."""
    low, high = axes.get_ylim()
    inches = axes.get_figure(root=True).get_size_inches()[1] * axes.get_position().height  # type: ignore[union-attr]
    gap = (high - low) * 0.15 / inches
    ordered = sorted(ends, key=lambda end: end[1])
    places = apart([y for _, y, _ in ordered], gap)
    for (point, y, method), place in zip(ordered, places, strict=True):
        colour = colours[method]
        axes.annotate(
            method,
            xy=(point, y),
            xytext=(x, place),
            color=INK if colour == MUTED else colour,
            fontweight="normal" if colour == MUTED else "bold",
            fontsize=8.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": GRID, "lw": 0.8, "shrinkA": 0, "shrinkB": 3},
            zorder=1,
        )
    axes.set_ylim(min(low, places[0] - gap), max(high, places[-1] + gap))


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Rising places moved as little as can be until neighbours are `gap` apart (isotonic regression)."""
    blocks: list[tuple[float, int]] = []  # (mean of the places less their own gaps, how many)
    for i, place in enumerate(places):
        mean, count = place - i * gap, 1
        while blocks and blocks[-1][0] >= mean:
            before, members = blocks.pop()
            mean, count = (mean * count + before * members) / (count + members), count + members
        blocks.append((mean, count))
    settled = [mean for mean, count in blocks for _ in range(count)]
    return [mean + i * gap for i, mean in enumerate(settled)]


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


def _coloured_last(colours: Mapping[str, str]) -> list[str]:
    """Methods in drawing order: coloured ones above the rest, the reference on top."""
    return sorted(colours, key=lambda name: (MUTED, SECOND, ACCENT).index(colours[name]))


def _axis_name(metric: str) -> str:
    better = METRICS[metric].better
    return metric if better == "neither" else f"{metric} ({better} is better)"
