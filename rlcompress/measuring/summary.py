"""Measurements -> figures: rows of results, comparisons with the reference method, and both again by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rlcompress.measuring.evaluation import Cell, Evaluation, Settings
from rlcompress.measuring.metrics import METRICS
from rlcompress.measuring.statistics import (
    Interval,
    group_numbers,
    holm,
    paired_difference,
    quantile_interval,
    ratio_interval,
)
from rlcompress.words import BoolArray, FloatArray, IntArray, Status

Row = dict[str, Any]
_SLICED = ("method", "rate", "achieved_rate", "metric", "mean", "ci_low", "ci_high", "n")
_COMPARED = ("difference", "ci_low", "ci_high", "p", "effect", "groups")
_DIGITS = 12  # the last bits of a sum differ between processors; no figure should


def summarise(evaluation: Evaluation) -> Row:
    """The document of `results.json`: one result row per (method, rate, metric), comparisons, what is missing.

    `slices` are there where the items were sliced.
    """
    groups_I = groups(evaluation)
    document = {
        "data": evaluation.data,
        "judge": evaluation.judge,
        "results": result_rows(evaluation, groups_I),
        "comparisons": comparison_rows(evaluation, groups_I),
        "unavailable": evaluation.unavailable,
    }
    return document | ({"slices": slice_rows(evaluation)} if evaluation.slices else {})


def groups(evaluation: Evaluation) -> IntArray:
    """Numbers [I] of the items' groups; an item without one is a group of its own."""
    return group_numbers([example.group or f"\0{i}" for i, example in enumerate(evaluation.examples)])


def _usable(cell: Cell, metric: str) -> BoolArray:
    """Items [I] that enter a figure: within the budget and judged under every seed."""
    ratio = METRICS[metric]
    over_SI = np.asarray([[status is Status.OVER_BUDGET for status in row] for row in cell.statuses], np.bool_)
    known_SI = np.isfinite(cell.quantities[ratio.numerator]) & np.isfinite(cell.quantities[ratio.denominator])
    return np.asarray((known_SI & ~over_SI).all(0), np.bool_)


def _quotient(cell: Cell, metric: str) -> FloatArray:
    ratio = METRICS[metric]
    return np.stack([cell.quantities[ratio.numerator], cell.quantities[ratio.denominator]])


def _figure(metric: str, numerator: float, denominator: float) -> float:
    if not denominator:
        return float("nan")
    final = METRICS[metric].final
    ratio = numerator / denominator
    return ratio if final is None else float(final(np.asarray(ratio)))


def _seed_figure(metric: str, ratio_2I: FloatArray) -> float:
    quantile = METRICS[metric].quantile
    if quantile is not None:
        return float(np.quantile(ratio_2I[0], quantile)) if ratio_2I.size else float("nan")
    return _figure(metric, *ratio_2I.sum(1).tolist())


def _interval(metric: str, ratio_2SI: FloatArray, groups_I: IntArray, settings: Settings) -> Interval:
    """Of the items' means over seeds; a quantile is that of all items under all seeds."""
    how: dict[str, Any] = {"draws": settings.bootstrap, "seed": settings.seed, "level": settings.level}
    quantile = METRICS[metric].quantile
    if quantile is not None:
        return quantile_interval(ratio_2SI[0].ravel(), np.tile(groups_I, ratio_2SI.shape[1]), quantile, **how)
    numerator_I, denominator_I = ratio_2SI.mean(1)
    return ratio_interval(numerator_I, denominator_I, groups_I, **how, final=METRICS[metric].final)


def _item_sd(metric: str, means_2I: FloatArray) -> float:
    """Spread of the per-item figures."""
    numerator_I, denominator_I = means_2I[:, means_2I[1] > 0]
    final, ratio_I = METRICS[metric].final, numerator_I / denominator_I
    figure_I = ratio_I if final is None else final(ratio_I)
    return float(figure_I.std(ddof=1)) if len(figure_I) > 1 else float("nan")


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
            interval = _interval(metric, ratio_2SI, groups_I[usable_I], settings)
            by_seed = [_seed_figure(metric, ratio_2SI[:, s]) for s in range(len(cell.statuses))]
            rows.append(
                {
                    "method": cell.method,
                    "rate": cell.rate,
                    "achieved_rate": rounded(_figure("achieved_rate", *achieved.tolist())),
                    "metric": metric,
                    "mean": rounded(interval.mean),
                    "ci_low": rounded(interval.low),
                    "ci_high": rounded(interval.high),
                    "n": int((means_2I[1] > 0).sum()),
                    "seeds": len(cell.statuses),
                    "stochastic": cell.stochastic,
                    "seed_sd": rounded(float(np.std(by_seed, ddof=1))) if len(by_seed) > 1 else None,
                    "item_sd": rounded(_item_sd(metric, means_2I)),
                    "judge_failed": statuses.count(Status.JUDGE_FAILED),
                    "over_budget": statuses.count(Status.OVER_BUDGET),
                }
            )
    return rows


def comparison_rows(evaluation: Evaluation, groups_I: IntArray) -> list[Row]:
    """Rows {method, against, rate, metric, difference, ci_low, ci_high, p, p_holm, effect, n, groups}.

    `difference` is that of the method minus the other one on the items that both have: of the reference and every other
    method, and of each of these and the metric's baseline, if it has one. Holm corrects over all rows of one metric
    that have the reference, every method at every rate, and over all others of it.
    """
    reference = evaluation.settings.reference
    cells = {(cell.method, cell.rate): cell for cell in evaluation.cells}
    rows = []
    for metric in evaluation.settings.metrics:
        if not METRICS[metric].compared:
            continue
        pairs = [(reference, method, rate) for method, rate in cells if method != reference]
        family = _family(evaluation, metric, pairs, groups_I)
        baseline = METRICS[metric].baseline or reference
        others = [(method, baseline, rate) for method, rate in cells if method not in (reference, baseline)]
        rows += family if baseline == reference else [*family, *_family(evaluation, metric, others, groups_I)]
    return rows


def _family(
    evaluation: Evaluation, metric: str, pairs: Sequence[tuple[str, str, float]], groups_I: IntArray
) -> list[Row]:
    """Rows of those (method, against, rate) that were measured, tested together."""
    settings = evaluation.settings
    cells = {(cell.method, cell.rate): cell for cell in evaluation.cells}
    family: list[Row] = []
    for method, against, rate in pairs:
        mine, other = cells.get((method, rate)), cells.get((against, rate))
        if mine is None or other is None:
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
            final=METRICS[metric].final,
        )
        family.append(
            {
                "method": method,
                "against": against,
                "rate": rate,
                "metric": metric,
                "difference": rounded(found.interval.mean),
                "ci_low": rounded(found.interval.low),
                "ci_high": rounded(found.interval.high),
                "p": rounded(found.p),
                "effect": rounded(found.effect),
                "n": int(((mine_2I[1] > 0) & (other_2I[1] > 0)).sum()),
                "groups": found.groups,
            }
        )
    _correct(family)
    return family


def _correct(family: Sequence[Row]) -> None:
    """Set `p_holm` of rows that are tested together."""
    adjusted = holm([float("nan") if row["p"] is None else row["p"] for row in family])
    for row, p_holm in zip(family, adjusted, strict=True):
        row["p_holm"] = rounded(p_holm)


def slice_rows(evaluation: Evaluation) -> list[Row]:
    """Rows {slice, label, method, rate, metric, mean, ci_low, ci_high, n, comparison} of every slice.

    `comparison` is {difference, ci_low, ci_high, p, p_holm, effect, groups} of the reference minus the method inside
    the slice, null for the reference itself. Holm corrects over all rows of one metric and one way of slicing.
    """
    rows: list[Row] = []
    for name, labels in evaluation.slices.items():
        families: dict[str, list[Row]] = {}
        for label in sorted(set(labels)):
            inside = part(evaluation, [i for i, other in enumerate(labels) if other == label])
            groups_I = groups(inside)
            against = {
                (row["against"], row["rate"], row["metric"]): {key: row[key] for key in _COMPARED}
                for row in comparison_rows(inside, groups_I)
                if row["method"] == evaluation.settings.reference
            }
            for row in result_rows(inside, groups_I):
                comparison = against.get((row["method"], row["rate"], row["metric"]))
                if comparison is not None:
                    families.setdefault(row["metric"], []).append(comparison)
                figures = {key: row[key] for key in _SLICED}
                rows.append({"slice": name, "label": label, **figures, "comparison": comparison})
        for family in families.values():
            _correct(family)
    return rows


def part(evaluation: Evaluation, items: Sequence[int]) -> Evaluation:
    """The same measurements of some of the items, in the order given."""
    chosen_M = np.asarray(items, np.int64)
    cells = [
        replace(
            cell,
            statuses=[[row[i] for i in items] for row in cell.statuses],
            quantities={name: values_SI[:, chosen_M] for name, values_SI in cell.quantities.items()},
        )
        for cell in evaluation.cells
    ]
    return replace(evaluation, examples=[evaluation.examples[i] for i in items], cells=cells, outputs=[], slices={})


def rounded(value: float) -> float | None:
    """A figure for JSON: 12 significant digits, null where it is undefined."""
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
