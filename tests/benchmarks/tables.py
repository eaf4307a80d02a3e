"""The README's tables of studies, from their committed results: `python -m tests.benchmarks.tables masking`."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcompress.results import load_results

RESULTS = Path(__file__).parent / "results"
SHARED = (("distortion_bits", 0.5, "shared judge, rate 0.5"), ("distortion_bits", 0.33, "shared judge, rate 0.33"))
OWN = ("distortion_bits_adapted", 0.5, "own judge, rate 0.5")
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """What a study's table shows: the method that all others are paired with, and (metric, rate, heading) a column."""

    reference: str
    columns: tuple[tuple[str, float, str], ...]


TABLES = {
    "masking": Table("rl", (*SHARED, OWN)),
    "ablation": Table("grpo", SHARED),
    "cotraining": Table("cotrained", (*SHARED, OWN)),
}


def markdown(study: str) -> str:
    """One row a method, best first in the first column.

    A cell holds the mean over seeds of the method's bits a token and of `reference − method`, then a mark for each
    seed: ✓ the paired interval lies below 0 (the reference is better), ✗ above 0 (worse), · it holds 0.
    """
    table = TABLES[study]
    seeds = [_without_seeds(load_results(folder)) for folder in sorted((RESULTS / study).glob("seed-*"))]
    methods = {row["method"] for row in seeds[0]["results"]} - {"identity"}
    order = sorted(methods, key=lambda method: _bits(seeds, method, *table.columns[0][:2]))
    headings = " | ".join(heading for _, _, heading in table.columns)
    lines = [f"| method | {headings} |", f"|---|{'---|' * len(table.columns)}"]
    for method in order:
        cells = [_cell(seeds, method, table.reference, metric, rate) for metric, rate, _ in table.columns]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _without_seeds(document: Document) -> Document:
    """Runs of a study are called `name-seed`; a table has one row for all seeds."""
    plain = {
        key: [{**row, name: re.sub(r"-\d+$", "", row[name])} for row in document[key]]
        for key, name in (("results", "method"), ("comparisons", "against"))
    }
    return {**document, **plain}


def _cell(seeds: list[Document], method: str, reference: str, metric: str, rate: float) -> str:
    bits = f"{_bits(seeds, method, metric, rate):.3f}"
    if method == reference:
        return f"**{bits}**"
    rows = [_row(seed["comparisons"], "against", method, metric, rate) for seed in seeds]
    marks = "".join("✓" if row["ci_high"] < 0 else "✗" if row["ci_low"] > 0 else "·" for row in rows)
    return f"{bits} ({_mean([row['difference'] for row in rows]):+.3f} {marks})"


def _bits(seeds: list[Document], method: str, metric: str, rate: float) -> float:
    return _mean([_row(seed["results"], "method", method, metric, rate)["mean"] for seed in seeds])


def _row(rows: list[Document], key: str, method: str, metric: str, rate: float) -> Document:
    [row] = [r for r in rows if r[key] == method and r["metric"] == metric and r["rate"] == rate]
    return row


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    print(markdown(sys.argv[1]))
