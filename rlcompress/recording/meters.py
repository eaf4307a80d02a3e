"""What an iteration cost, as metrics: `speed/…` in units a second, `time/…` in seconds, `memory/…` in 2^30 bytes.

Equal runs differ in these alone, so whatever compares runs leaves out `HOST`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rlcompress.machine.hardware import GIGABYTE, resident_bytes

HOST = ("speed/", "time/", "memory/")  # how the names of these metrics begin
_UNITS = {"speed/": "a second", "time/": "s", "memory/": "GB"}


class Sample(Protocol):
    """One sample of an iteration: `serial` numbers its prompt, `example` is the row of the training split."""

    @property
    def serial(self) -> int: ...

    @property
    def example(self) -> int: ...


class Meter:
    """Counts what was worked off in the time that it took.

    Args:
        tokens_E: reader tokens of every training example.
        steps: steps of an episode.
    """

    def __init__(self, tokens_E: Sequence[int], steps: int = 1) -> None:
        self.tokens_E = tokens_E
        self.steps = steps
        self._judge: dict[str, float] = {}

    def speeds(self, seconds: float, samples: Sequence[Sample]) -> dict[str, float]:
        """Throughput of an iteration that drew these samples in `seconds`.

        A source token counts once for each sample of its text, as it is judged once for each.
        """
        counts = {
            "iterations": 1,
            "prompts": len({sample.serial for sample in samples}),
            "samples": len(samples),
            "steps": len(samples) * self.steps,
            "source_tokens": sum(self.tokens_E[sample.example] for sample in samples),
        }
        return {f"speed/{name}": count / max(seconds, 1e-9) for name, count in counts.items()}

    def judged(self, stats: Mapping[str, float]) -> dict[str, float]:
        """Latency of a call and verdicts a second since the last look at the judge's own counters.

        Args:
            stats: `calls`, `asked` and `seconds` (spent answering) since the judge's process `pid` started. The first
                look at a process, and one between which nobody asked, gives no figure.
        """
        last, self._judge = self._judge, dict(stats)
        if "seconds" not in stats or last.get("pid") != stats.get("pid"):
            return {}
        calls, asked, seconds = (stats[name] - last[name] for name in ("calls", "asked", "seconds"))
        if calls <= 0 or seconds <= 0:
            return {}
        return {"time/judge_call": seconds / calls, "speed/verdicts": asked / seconds}


def memory(runners: Iterable[int] = ()) -> dict[str, float]:
    """What this process holds, and what all env runners hold together as they last said, in bytes each."""
    held = list(runners)
    driver = {"memory/driver": resident_bytes() / GIGABYTE}
    return {**driver, "memory/runners": sum(held) / GIGABYTE} if held else driver


def costs(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """{name, unit, n, median, p95} of each metric of this file in the lines of a metrics.jsonl, in order of names.

    `p95` is the value that 95 % of the iterations do not exceed; of a throughput, that 95 % reach at least.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith(HOST) and isinstance(value, int | float):
                values.setdefault(name, []).append(float(value))
    return [
        {
            "name": name,
            "unit": next(unit for start, unit in _UNITS.items() if name.startswith(start)),
            "n": len(values[name]),
            "median": float(np.median(values[name])),
            "p95": float(np.percentile(values[name], 5 if name.startswith("speed/") else 95)),
        }
        for name in sorted(values)
    ]


def cost_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What `status` prints of throughput, times and memory: one line a kind, medians over the run."""
    medians = {cost["name"]: cost["median"] for cost in costs(rows)}
    lines = []
    for start, unit in _UNITS.items():
        shown = [f"{name.removeprefix(start)} {value:.3g}" for name, value in medians.items() if name.startswith(start)]
        if shown:
            lines.append(f"{start.rstrip('/'):<10} {', '.join(shown)} ({unit}; median of an iteration)")
    return lines
