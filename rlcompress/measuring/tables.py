"""What the figures of `results.json` say, as text: the order of methods, marks, and the tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rlcompress.measuring.metrics import METRICS
from rlcompress.measuring.summary import Row

SIGNIFICANT = 0.05
_TOGETHER = (
    ("distortion_bits", "token_accuracy"),
    ("distortion_bits_adapted",),
    ("answer_retention", "answer_span"),
    ("reader_f1", "reader_exact"),
    ("perplexity",),
    ("rougeL", "rouge1", "rouge2"),
    ("bleu", "semantic_similarity"),
    ("accuracy", "accuracy_change", "right_in_other_forms"),
    ("achieved_rate", "budget_error", "budget_error_p95"),  # where lengths are free: else a column says it
    ("leak_rate", "shut_rate", "fallback_rate", "failed_rate"),
)


def is_significant(comparison: Row | None) -> bool:
    """Whether the interval excludes 0 and the corrected p agrees; over several trainings, their interval too."""
    if comparison is None or comparison["ci_low"] is None or comparison["p_holm"] is None:
        return False
    excludes_zero = _excludes_zero(comparison["ci_low"], comparison["ci_high"])
    if comparison.get("seeds_low") is not None:
        excludes_zero = excludes_zero and _excludes_zero(comparison["seeds_low"], comparison["seeds_high"])
    return bool(excludes_zero and comparison["p_holm"] < SIGNIFICANT)


def _excludes_zero(low: float, high: float) -> bool:
    return low > 0 or high < 0


def mark(comparison: Row) -> str:
    """✓ where the reference is better and its paired interval excludes 0, ✗ where it is worse, · where neither.

    ↓ and ↑ say lower and higher of a metric in which neither is better.
    """
    if comparison["ci_low"] is None:
        return "·"
    better = METRICS[comparison["metric"]].better
    below, above = comparison["ci_high"] < 0, comparison["ci_low"] > 0
    return {"lower": "✓✗", "higher": "✗✓", "neither": "↓↑"}[better][int(above)] if below or above else "·"


def compared(document: Row) -> dict[tuple[str, float, str], Row]:
    """Comparisons of the reference, by the other method, rate and metric."""
    reference = document["settings"]["reference"]
    rows = [row for row in document["comparisons"] if row["method"] == reference]
    return {(row["against"], row["rate"], row["metric"]): row for row in rows}


def ranked(document: Row, metric: str) -> list[Row]:
    """Result rows of one metric: by falling rate, then best first, undefined last."""
    worst = float("inf")
    sign = -1.0 if METRICS[metric].better == "higher" else 1.0
    rows = [row for row in document["results"] if row["metric"] == metric]
    return sorted(rows, key=lambda row: (-row["rate"], worst if row["mean"] is None else sign * row["mean"]))


def told(document: Row) -> list[str]:
    """The metrics that decide, in order: those of answers first, where rows have some; without `achieved_rate`."""
    metrics = [name for name in document["settings"]["metrics"] if name != "achieved_rate"]
    return sorted(metrics, key=lambda name: not METRICS[name].needs_answer)


def over_trainings(document: Row) -> Row | None:
    """The document of methods that several trainings share, each over its seeds; None where no method is."""
    return {**document, **document["over_seeds"]} if "over_seeds" in document else None


def _number(value: float | None, pattern: str = ".3f") -> str:
    return "–" if value is None else format(value, pattern)


def _with_interval(row: Row | None, key: str, sign: str = "") -> str:
    if row is None or row[key] is None:
        return "–"
    text = _number(row[key], f"{sign}.3f")
    if row["ci_low"] is None:
        return text
    return f"{text} [{_number(row['ci_low'], f'{sign}.3f')}, {_number(row['ci_high'], f'{sign}.3f')}]"


def _table(document: Row, metrics: Sequence[str]) -> str:
    """Method, requested and achieved rate, each metric with its interval, and the difference in the first of them."""
    found = {(row["method"], row["rate"], row["metric"]): row for row in document["results"]}
    against = compared(document)
    reference = document["settings"]["reference"]
    has_some = any(metric == metrics[0] for _, _, metric in against)
    lines = [["method", "rate", "achieved", *metrics, f"{reference} − method" if has_some else ""]]
    last_rate = None
    for row in ranked(document, metrics[0]):
        if last_rate not in (None, row["rate"]):
            lines.append([])
        last_rate = row["rate"]
        key = (row["method"], row["rate"])
        lines.append(
            [
                row["method"],
                f"{row['rate']:g}",
                _number(row["achieved_rate"]),
                *(_with_interval(found.get((*key, metric)), "mean") for metric in metrics),
                _compared(against.get((*key, metrics[0]))),
            ]
        )
    widths = [max(len(line[c]) for line in lines if line) for c in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=False)).rstrip() for line in lines)


def _compared(comparison: Row | None) -> str:
    if comparison is None:
        return ""
    marks = f" {comparison['marks']}" if "marks" in comparison else ""
    return _with_interval(comparison, "difference", "+") + marks + (" *" if is_significant(comparison) else "")


def text_table(document: Row) -> str:
    """The results as printed at the end of a command."""
    metrics = document["settings"]["metrics"]
    together = [[name for name in names if name in metrics] for names in _TOGETHER]
    tables = [_table(document, shown) for shown in together if shown not in ([], ["achieved_rate"])]
    tables = tables or [_table(document, metrics)]
    if "seeds" in document:
        tables.insert(0, f"Over {document['seeds']} training seeds:")
    parts = [*tables, "\n".join(_notes(document))]
    over = over_trainings(document)
    return "\n\n".join(parts) + (f"\n\n{text_table(_without_nested(over))}" if over else "")


def _without_nested(document: Row) -> Row:
    return {key: value for key, value in document.items() if key != "over_seeds"}


def _notes(document: Row) -> list[str]:
    level = document["settings"]["level"]
    notes = [
        f"Brackets: {level:.0%} bootstrap intervals over documents or contexts, paired by item. "
        f"* the interval excludes 0 and Holm-corrected p < {SIGNIFICANT:g}"
        + ("." if "seeds" not in document else ", and so does Student's interval over training seeds.")
    ]
    if "seeds" in document:
        notes.append(
            "A mark a training seed: ✓ the reference is better, ✗ worse, · its interval holds 0; ↓ ↑ lower, higher."
        )
    asking = [f"{method} {count:.3g}" for method, count in document.get("passes", {}).items() if count]
    notes += [f"Model passes a text: {', '.join(asking)}; the others ask no model."] if asking else []
    notes += [f"{method} is unavailable: {why}" for method, why in document["unavailable"].items()]
    for status in ("judge_failed", "over_budget"):
        counts = {(row["method"], row["rate"]): row[status] for row in document["results"] if row[status]}
        if counts:
            listed = ", ".join(f"{method} at {rate:g}: {count}" for (method, rate), count in counts.items())
            notes.append(f"Left out ({status.replace('_', ' ')}): {listed}")
    return notes
