"""The README's tables of studies, from their committed results: `python -m tests.benchmarks.tables masking`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcompress.measuring.metrics import METRICS
from rlcompress.measuring.results import load_results, pooled, pooled_splits

RESULTS = Path(__file__).parent / "results"
SHARED = (("distortion_bits", 0.5, "shared judge, rate 0.5"), ("distortion_bits", 0.33, "shared judge, rate 0.33"))
OWN = ("distortion_bits_adapted", 0.5, "own judge, rate 0.5")
BY_OWN = (OWN, ("distortion_bits_adapted", 0.33, "own judge, rate 0.33"))
RETENTION = tuple(("answer_retention", rate, f"rate {rate:g}") for rate in (0.5, 0.33, 0.2))
CURVE = tuple(("answer_retention", rate, f"{rate:g}") for rate in (0.9, 0.8, 0.65, 0.5, 0.33, 0.2, 0.1))
SOURCES = ("adversarial_qa", "duorc", "quoref")
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """What a study's table shows: the method that all others are paired with, and (metric, rate, heading) a column.

    `together` makes one document of the training seeds: `pooled_splits` where each had a held-out set of its own. A
    `part` is one slice of the texts (slicing, label) instead of all; `methods` are those shown, else all.
    """

    reference: str
    columns: tuple[tuple[str, float, str], ...]
    together: Callable[[Sequence[Path], Callable[[str], str]], Document] = pooled
    folder: str | None = None  # of the results, where it is not the study's name
    part: tuple[str, str] | None = None
    methods: tuple[str, ...] = ()


TABLES = {
    "masking": Table("rl", (*SHARED, OWN)),
    "ablation": Table("grpo", SHARED),
    "cotraining": Table("cotrained", (*SHARED, OWN)),
    "wikitext": Table("rl", (*SHARED, *BY_OWN)),
    "wikitext/without_unk": Table(
        "rl",
        (*SHARED, *BY_OWN),
        folder="wikitext",
        part=("contains:<unk>", "without <unk>"),
        methods=(
            "rl",
            "adaptive_add",
            "supervised",
            "warm_start",
            "prior",
            "self_information",
            "stride",
            "long",
            "rare",
        ),
    ),
    "context_qa": Table("context_qa", RETENTION, pooled_splits),
    "context_qa/controls": Table("context_qa", RETENTION, pooled_splits),
    "context_qa/curve": Table("context_qa", CURVE, pooled_splits),
    **{f"context_qa/without_{source}": Table(f"without_{source}", RETENTION) for source in SOURCES},
    **{
        f"context_qa/attempts/{attempt}": Table("without_adversarial_qa", RETENTION)
        for attempt in ("fewer_updates", "near_the_start")
    },
}


def markdown(study: str) -> str:
    """One row a method, best first in the first column.

    A cell holds the method's figure and `reference − method` with its 95 % interval, both over all training seeds on
    the same texts, then a mark for each seed: ✓ the reference is better and its paired interval excludes 0, ✗ it is
    worse, · the interval holds 0.
    """
    table = TABLES[study]
    folders = sorted((RESULTS / (table.folder or study)).glob("seed-*"))
    together = _part(table.together(folders, without_seed), table.part)
    seeds = [_part(load_results(folder), table.part)["comparisons"] for folder in folders]
    methods = set(table.methods) or {row["method"] for row in together["results"]} - {"identity"}
    metric, rate, _ = table.columns[0]
    sign = 1.0 if METRICS[metric].better == "lower" else -1.0
    order = sorted(
        methods,
        key=lambda method: (sign * float(_row(together["results"], "method", method, metric, rate)["mean"]), method),
    )
    headings = " | ".join(heading for _, _, heading in table.columns)
    lines = [f"| method | {headings} |", f"|---|{'---|' * len(table.columns)}"]
    for method in order:
        cells = [_cell(together, seeds, method, table.reference, metric, rate) for metric, rate, _ in table.columns]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _part(document: Document, part: tuple[str, str] | None) -> Document:
    """The figures and comparisons of one slice in the form of those of all texts."""
    if part is None:
        return document
    rows = [row for row in document["slices"] if (row["slice"], row["label"]) == part]
    compared = [{**row, **row["comparison"], "against": row["method"]} for row in rows if row["comparison"]]
    return {"results": rows, "comparisons": compared}


def without_seed(method: str) -> str:
    """Runs of a study are called `name-seed`; a table has one row for all seeds."""
    return re.sub(r"-\d+$", "", method)


def _cell(
    together: Document, seeds: list[list[Document]], method: str, reference: str, metric: str, rate: float
) -> str:
    figure = f"{_row(together['results'], 'method', method, metric, rate)['mean']:.3f}"
    if method == reference:
        return f"**{figure}**"
    row = _row(together["comparisons"], "against", method, metric, rate)
    marks = "".join(_mark(_row(rows, "against", method, metric, rate), metric) for rows in seeds)
    interval = f"{row['difference']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
    return f"{figure} ({interval} {marks})"


def _mark(row: Document, metric: str) -> str:
    better, worse = row["ci_high"] < 0, row["ci_low"] > 0
    if METRICS[metric].better == "higher":
        better, worse = worse, better
    return "✓" if better else "✗" if worse else "·"


def _row(rows: list[Document], key: str, method: str, metric: str, rate: float) -> Document:
    [row] = [r for r in rows if without_seed(r[key]) == method and r["metric"] == metric and r["rate"] == rate]
    return row


if __name__ == "__main__":
    print(markdown(sys.argv[1]))
