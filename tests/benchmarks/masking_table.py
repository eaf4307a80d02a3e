"""The README's table of the masking study, from its committed results: `python -m tests.benchmarks.masking_table`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcompress.results import load_results

STUDY = Path(__file__).parent / "results" / "masking"
COLUMNS = (("distortion_bits", 0.5), ("distortion_bits", 0.33), ("distortion_bits_adapted", 0.5))
HEADINGS = ("shared judge, rate 0.5", "shared judge, rate 0.33", "own judge, rate 0.5")
Document = dict[str, Any]


def markdown() -> str:
    """One row a method, best first under the shared judge at 0.5.

    A cell holds the mean over seeds of the method's bits a token and of `rl − method`, then a mark for each seed:
    ✓ the paired interval lies below 0 (RL is better), ✗ above 0 (RL is worse), · it holds 0.
    """
    seeds = [load_results(folder / "results.json") for folder in sorted(STUDY.glob("seed-*"))]
    methods = {row["method"] for row in seeds[0]["results"]} - {"identity"}
    order = sorted(methods, key=lambda method: _bits(seeds, method, *COLUMNS[0]))
    lines = [f"| method | {' | '.join(HEADINGS)} |", f"|---|{'---|' * len(HEADINGS)}"]
    lines += [f"| `{m}` | {' | '.join(_cell(seeds, m, *column) for column in COLUMNS)} |" for m in order]
    return "\n".join(lines)


def _cell(seeds: list[Document], method: str, metric: str, rate: float) -> str:
    bits = f"{_bits(seeds, method, metric, rate):.3f}"
    if method == "rl":
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
    print(markdown())
