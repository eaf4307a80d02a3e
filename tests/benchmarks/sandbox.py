"""`make bench-sandbox`: what a jail adds to the time of a program, and how many trivial tests a second it judges.

A program is a built-in one with three asserts, as MBPP has them. The baseline is a plain process, `python -I -S -c`
with program and asserts, in turn with `judge` in the same run, so that a drift of the machine meets both. Every program
has a jail, thus a process, of its own: nothing is kept warm. A test is one assert; programs a second stand beside it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlcompress.sandbox import Limits, judge, probe
from tests.benchmarks.setting import RESULTS
from tests.benchmarks.surroundings import surroundings

PROGRAM = "def middle(values):\n    ordered = sorted(values)\n    return ordered[len(ordered) // 2]\n"
TESTS = (
    "assert middle([3, 1, 2]) == 2",
    "assert middle(['b', 'a', 'c']) == 'b'",
    "assert middle([(1, 2.5), (0, 1.5)]) == (1, 2.5)",
)
CLEAN = (*TESTS[:2], "assert set(middle([[1], [2], [3]])) == set([2])")  # one is decided in the second, clean jail
PAIRS, PROGRAMS, WORKERS = 200, 400, 2


def main(pairs: int = PAIRS, programs: int = PROGRAMS) -> None:
    document = measured(pairs, programs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sandbox.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({**document, "levels": {k: v["summary"] for k, v in document["levels"].items()}}, indent=1))


def measured(pairs: int, programs: int) -> dict[str, Any]:
    """Milliseconds of every run, and what follows from them, for each level that holds here."""
    held = [one.level for one in probe() if one.holds]
    return {
        "baseline": "python -I -S -c PROGRAM+ASSERTS in a plain process",
        "tests_a_program": len(TESTS),
        "workers": WORKERS,
        "levels": {level: of_level(level, pairs, programs) for level in held},
        "environment": surroundings(),
    }


def of_level(level: str, pairs: int, programs: int) -> dict[str, Any]:
    jailed, plain = in_turn(lambda: run(level, TESTS), unguarded, pairs)
    twice, _ = in_turn(lambda: run(level, CLEAN), unguarded, max(2, pairs // 4))
    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda _: run(level, TESTS), range(programs)))
    seconds = time.perf_counter() - started
    samples = {"jailed_ms": jailed, "plain_ms": plain, "with_clean_jail_ms": twice}
    throughput = {"programs": programs, "seconds": round(seconds, 3)}
    return {"summary": summarise(samples, throughput), "throughput": throughput, "samples": samples}


def summarise(samples: dict[str, list[float]], throughput: dict[str, Any]) -> dict[str, float]:
    """Added time is each run against the plain one beside it; a second's tests are asserts."""
    added = [a - b for a, b in zip(samples["jailed_ms"], samples["plain_ms"], strict=True)]
    a_second = throughput["programs"] / throughput["seconds"]
    return {
        "added_ms_p50": round(percentile(added, 50), 2),
        "added_ms_p95": round(percentile(added, 95), 2),
        "jailed_ms_p50": round(percentile(samples["jailed_ms"], 50), 2),
        "jailed_ms_p95": round(percentile(samples["jailed_ms"], 95), 2),
        "plain_ms_p50": round(percentile(samples["plain_ms"], 50), 2),
        "plain_ms_p95": round(percentile(samples["plain_ms"], 95), 2),
        "with_clean_jail_ms_p50": round(percentile(samples["with_clean_jail_ms"], 50), 2),
        "programs_a_second": round(a_second, 1),
        "tests_a_second": round(a_second * len(TESTS), 1),
    }


def percentile(values: list[float], which: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[which - 1]


def run(level: str, tests: tuple[str, ...]) -> None:
    verdict = judge(PROGRAM, tests, limits=Limits(wall_seconds=30), level=level, minimum="rlimits")
    assert verdict.passed, verdict.detail


def unguarded() -> None:
    text = "\n".join((PROGRAM, *TESTS))
    subprocess.run([sys.executable, "-I", "-S", "-c", text], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def in_turn(first: Callable[[], None], second: Callable[[], None], runs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each, in turn, after one of each that does not count."""
    first()
    second()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for work, where in zip((first, second), taken, strict=True):
            started = time.perf_counter()
            work()
            where.append(round(1000 * (time.perf_counter() - started), 3))
    return taken


def recorded() -> Path:
    return RESULTS / "sandbox.json"


if __name__ == "__main__":
    main()
