"""Measurements -> figures: rows of results, comparisons with the reference method, and the table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcompress.evaluation import Cell, Evaluation
from rlcompress.metrics import METRICS
from rlcompress.statistics import group_numbers, holm, paired_difference, ratio_interval
from rlcompress.words import BoolArray, FloatArray, IntArray, Status

Row = dict[str, Any]
SIGNIFICANT = 0.05
_DIGITS = 12  # the last bits of a sum differ between processors; no figure should


def summarise(evaluation: Evaluation) -> Row:
    """The document of `results.json`: one result row per (method, rate, metric), comparisons, what is missing."""
    groups_I = group_numbers([example.group or f"\0{i}" for i, example in enumerate(evaluation.examples)])
    return {
        "data": evaluation.data,
        "judge": evaluation.judge,
        "results": result_rows(evaluation, groups_I),
        "comparisons": comparison_rows(evaluation, groups_I),
        "unavailable": evaluation.unavailable,
    }


def _usable(cell: Cell, metric: str) -> BoolArray:
    """Items [I] that enter a figure: within the budget and judged under every seed."""
    ratio = METRICS[metric]
    over_SI = np.asarray([[status is Status.OVER_BUDGET for status in row] for row in cell.statuses], np.bool_)
    known_SI = np.isfinite(cell.quantities[ratio.numerator]) & np.isfinite(cell.quantities[ratio.denominator])
    return np.asarray((known_SI & ~over_SI).all(0), np.bool_)


def _quotient(cell: Cell, metric: str) -> FloatArray:
    ratio = METRICS[metric]
    return np.stack([cell.quantities[ratio.numerator], cell.quantities[ratio.denominator]])


def _figure(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")


def _item_sd(means_2I: FloatArray) -> float:
    """Spread of the per-item figures."""
    numerator_I, denominator_I = means_2I[:, means_2I[1] > 0]
    return float((numerator_I / denominator_I).std(ddof=1)) if len(numerator_I) > 1 else float("nan")


def result_rows(evaluation: Evaluation, groups_I: IntArray) -> list[Row]:
    """Rows {method, rate, achieved_rate, metric, mean, ci_low, ci_high, n, seeds, ...}.

    `n` counts items that the metric is defined on; `seed_sd` is the spread of the corpus figure over seeds (null
    where the method is deterministic), `item_sd` that of the per-item figures.
    """
    settings = evaluation.settings
    rows = []
    for cell in evaluation.cells:
        achieved = _quotient(cell, "achieved_rate")[:, :, _usable(cell, "achieved_rate")].sum((1, 2))
        statuses = [status for row in cell.statuses for status in row]
        for metric in settings.metrics:
            usable_I = _usable(cell, metric)
            ratio_2SI = _quotient(cell, metric)[:, :, usable_I]
            means_2I = ratio_2SI.mean(1)
            interval = ratio_interval(
                means_2I[0],
                means_2I[1],
                groups_I[usable_I],
                draws=settings.bootstrap,
                seed=settings.seed,
                level=settings.level,
            )
            by_seed = [_figure(float(n), float(d)) for n, d in zip(*ratio_2SI.sum(2), strict=True)]
            rows.append(
                {
                    "method": cell.method,
                    "rate": cell.rate,
                    "achieved_rate": _rounded(_figure(*achieved.tolist())),
                    "metric": metric,
                    "mean": _rounded(interval.mean),
                    "ci_low": _rounded(interval.low),
                    "ci_high": _rounded(interval.high),
                    "n": int((means_2I[1] > 0).sum()),
                    "seeds": len(cell.statuses),
                    "stochastic": cell.stochastic,
                    "seed_sd": _rounded(float(np.std(by_seed, ddof=1))) if len(by_seed) > 1 else None,
                    "item_sd": _rounded(_item_sd(means_2I)),
                    "judge_failed": statuses.count(Status.JUDGE_FAILED),
                    "over_budget": statuses.count(Status.OVER_BUDGET),
                }
            )
    return rows


def comparison_rows(evaluation: Evaluation, groups_I: IntArray) -> list[Row]:
    """Rows {method, against, rate, metric, difference, ci_low, ci_high, p, p_holm, effect, n, groups}.

    `difference` is the reference minus the other method on the items that both have. Holm corrects over all rows of
    one metric: every method at every rate.
    """
    settings = evaluation.settings
    cells = {(cell.method, cell.rate): cell for cell in evaluation.cells}
    rows = []
    for metric in settings.metrics:
        family: list[Row] = []
        for (method, rate), other in cells.items():
            mine = cells.get((settings.reference, rate))
            if mine is None or other is mine:
                continue
            both_I = _usable(mine, metric) & _usable(other, metric)
            mine_2I, other_2I = (_quotient(cell, metric)[:, :, both_I].mean(1) for cell in (mine, other))
            found = paired_difference(
                mine_2I,
                other_2I,
                groups_I[both_I],
                draws=settings.bootstrap,
                seed=settings.seed,
                level=settings.level,
            )
            family.append(
                {
                    "method": settings.reference,
                    "against": method,
                    "rate": rate,
                    "metric": metric,
                    "difference": _rounded(found.interval.mean),
                    "ci_low": _rounded(found.interval.low),
                    "ci_high": _rounded(found.interval.high),
                    "p": _rounded(found.p),
                    "effect": _rounded(found.effect),
                    "n": int(((mine_2I[1] > 0) & (other_2I[1] > 0)).sum()),
                    "groups": found.groups,
                }
            )
        adjusted = holm([float("nan") if row["p"] is None else row["p"] for row in family])
        for row, p_holm in zip(family, adjusted, strict=True):
            row["p_holm"] = _rounded(p_holm)
        rows.extend(family)
    return rows


def _rounded(value: float) -> float | None:
    """A figure for JSON: 12 significant digits, null where it is undefined."""
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _number(value: float | None, pattern: str = ".3f") -> str:
    return "–" if value is None else format(value, pattern)


def _with_interval(row: Row | None, key: str, sign: str = "") -> str:
    if row is None or row[key] is None:
        return "–"
    text = _number(row[key], f"{sign}.3f")
    if row["ci_low"] is None:
        return text
    return f"{text} [{_number(row['ci_low'], f'{sign}.3f')}, {_number(row['ci_high'], f'{sign}.3f')}]"


def is_significant(comparison: Row | None) -> bool:
    """Whether the interval excludes 0 and the corrected p agrees."""
    if comparison is None or comparison["ci_low"] is None or comparison["p_holm"] is None:
        return False
    excludes_zero = comparison["ci_low"] > 0 or comparison["ci_high"] < 0
    return bool(excludes_zero and comparison["p_holm"] < SIGNIFICANT)


def ranked(document: Row, metric: str) -> list[Row]:
    """Result rows of one metric: by falling rate, then best first, undefined last."""
    worst = float("inf")
    sign = -1.0 if METRICS[metric].better == "higher" else 1.0
    rows = [row for row in document["results"] if row["metric"] == metric]
    return sorted(rows, key=lambda row: (-row["rate"], worst if row["mean"] is None else sign * row["mean"]))


def _table(document: Row, metrics: Sequence[str]) -> str:
    """Method, requested and achieved rate, each metric with its interval, and the difference in the first of them."""
    found = {(row["method"], row["rate"], row["metric"]): row for row in document["results"]}
    against = {(row["against"], row["rate"], row["metric"]): row for row in document["comparisons"]}
    reference = document["settings"]["reference"]
    lines = [["method", "rate", "achieved", *metrics, f"{reference} − method" if against else ""]]
    last_rate = None
    for row in ranked(document, metrics[0]):
        if last_rate not in (None, row["rate"]):
            lines.append([])
        last_rate = row["rate"]
        key = (row["method"], row["rate"])
        comparison = against.get((*key, metrics[0]))
        lines.append(
            [
                row["method"],
                f"{row['rate']:g}",
                _number(row["achieved_rate"]),
                *(_with_interval(found.get((*key, metric)), "mean") for metric in metrics),
                _with_interval(comparison, "difference", "+") + (" *" if is_significant(comparison) else "")
                if comparison
                else "",
            ]
        )
    widths = [max(len(line[c]) for line in lines if line) for c in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=False)).rstrip() for line in lines)


def text_table(document: Row) -> str:
    """The results as printed at the end of a command."""
    metrics = document["settings"]["metrics"]
    pairs = (("distortion_bits", "token_accuracy"), ("distortion_bits_adapted",), ("answer_retention", "answer_span"))
    tables = [_table(document, shown) for pair in pairs if (shown := [name for name in pair if name in metrics])]
    level = document["settings"]["level"]
    notes = [
        f"Brackets: {level:.0%} bootstrap intervals over documents or contexts, paired by item. "
        f"* the interval excludes 0 and Holm-corrected p < {SIGNIFICANT:g}."
    ]
    asking = [f"{method} {count:.3g}" for method, count in document.get("passes", {}).items() if count]
    notes += [f"Model passes a text: {', '.join(asking)}; the others ask no model."] if asking else []
    notes += [f"{method} is unavailable: {why}" for method, why in document["unavailable"].items()]
    for status in ("judge_failed", "over_budget"):
        counts = {(row["method"], row["rate"]): row[status] for row in document["results"] if row[status]}
        if counts:
            listed = ", ".join(f"{method} at {rate:g}: {count}" for (method, rate), count in counts.items())
            notes.append(f"Left out ({status.replace('_', ' ')}): {listed}")
    return "\n\n".join([*tables, "\n".join(notes)])
