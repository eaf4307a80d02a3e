"""Throughput, latency and memory: figures by hand, and the summaries of `status` and the report."""

import json
import math
from dataclasses import dataclass

import pytest

from rlcompress.machine import hardware
from rlcompress.recording.meters import HOST, Meter, cost_lines, costs, memory


@dataclass(frozen=True)
class Drawn:
    serial: int
    example: int


def test_speeds_count_prompts_samples_steps_and_tokens():
    samples = [Drawn(7, 0), Drawn(7, 0), Drawn(8, 2), Drawn(8, 2)]
    assert Meter([10, 99, 5], steps=3).speeds(2.0, samples) == {
        "speed/iterations": 0.5,
        "speed/prompts": 1.0,
        "speed/samples": 2.0,
        "speed/steps": 6.0,
        "speed/source_tokens": 15.0,
    }
    assert set(Meter([1]).speeds(1.0, []).values()) == {0.0, 1.0}, "an iteration whose samples all failed"


def test_the_judge_between_two_looks():
    meter = Meter([1])
    assert meter.judged({"calls": 2, "asked": 20, "seconds": 9.0, "pid": 5}) == {}, "what was before has no iteration"
    assert meter.judged({"calls": 4, "asked": 50, "seconds": 10.0, "pid": 5}) == {
        "time/judge_call": 0.5,
        "speed/verdicts": 30.0,
    }
    assert meter.judged({"calls": 4, "asked": 50, "seconds": 10.0, "pid": 5}) == {}, "nobody asked"
    assert meter.judged({"calls": 1, "asked": 10, "seconds": 0.5, "pid": 6}) == {}, "another process counts from 0"
    assert meter.judged({"calls": 2, "asked": 20, "seconds": 1.5, "pid": 6})["time/judge_call"] == 1.0
    assert meter.judged({"calls": 3, "asked": 30, "pid": 6}) == {}, "a judge that keeps no time"


def test_memory_is_that_of_this_process_and_the_sum_of_the_runners():
    assert memory()["memory/driver"] * hardware.GIGABYTE == pytest.approx(hardware.resident_bytes(), rel=0.05)
    assert set(memory()) == {"memory/driver"}
    assert memory([hardware.GIGABYTE, 2 * hardware.GIGABYTE])["memory/runners"] == 3.0


ROWS = [
    {"step": i, "time": 1e9 + i, "speed/samples": float(i), "time/learn": float(i), "memory/driver": 2.0, "loss": 1.0}
    for i in range(1, 102)
] + [{"step": 102, "speed/samples": None, "time/judge_call": 0.25}]


def test_median_and_what_95_of_100_iterations_keep():
    found = {cost["name"]: cost for cost in costs(ROWS)}
    assert list(found) == ["memory/driver", "speed/samples", "time/judge_call", "time/learn"]
    assert found["speed/samples"] == {"name": "speed/samples", "unit": "a second", "n": 101, "median": 51.0, "p95": 6.0}
    assert found["time/learn"] == {"name": "time/learn", "unit": "s", "n": 101, "median": 51.0, "p95": 96.0}
    assert sum(row["speed/samples"] >= 6.0 for row in ROWS[:-1]) == 96
    assert found["time/judge_call"]["n"] == 1
    assert costs([]) == []


def test_the_lines_of_status():
    assert cost_lines(ROWS) == [
        "speed      samples 51 (a second; median of an iteration)",
        "time       judge_call 0.25, learn 51 (s; median of an iteration)",
        "memory     driver 2 (GB; median of an iteration)",
    ]
    assert cost_lines([{"step": 1, "reward/mean": 1.0}]) == []


def test_all_figures_are_finite_numbers_under_the_names_that_comparisons_leave_out():
    meter = Meter([3, 4])
    meter.judged({"calls": 0, "asked": 0, "seconds": 0.0, "pid": 1})
    row = {
        **meter.speeds(0.0, [Drawn(1, 1)]),
        **meter.judged({"calls": 1, "asked": 1, "seconds": 1e-9, "pid": 1}),
        **memory([1]),
    }
    assert all(name.startswith(HOST) and math.isfinite(value) for name, value in row.items())
    assert json.loads(json.dumps(row)) == row
