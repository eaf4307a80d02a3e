"""The benchmarks of the sandbox: at toy size, and the committed figures, which follow from what was measured."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import hostile
from tests.benchmarks.sandbox import RESULTS, measured, recorded, summarise
from tests.rlcompress.sandbox.hostile.attack import GROUPS, programs


def test_it_runs_at_toy_size() -> None:
    document = measured(pairs=2, programs=2)
    assert "rlimits" in document["levels"]
    for found in document["levels"].values():
        assert found["summary"]["tests_a_second"] > 0
        assert len(found["samples"]["jailed_ms"]) == 2


def test_the_recorded_figures_follow_from_the_measurements() -> None:
    if not recorded().is_file():
        pytest.skip("not measured yet: make bench-sandbox")
    document = json.loads(recorded().read_text(encoding="utf-8"))
    for found in document["levels"].values():
        assert summarise(found["samples"], found["throughput"]) == found["summary"]
        assert len(found["samples"]["jailed_ms"]) >= 100


def test_the_recorded_attacks_follow_from_the_trials() -> None:
    path = RESULTS / "hostile.json"
    if not path.is_file():
        pytest.skip("not measured yet: make bench-hostile")
    document = json.loads(path.read_text(encoding="utf-8"))
    names = {program.name for program in programs()}
    for executor, rows in document["programs"].items():
        assert hostile.summarise(rows) == document["executors"][executor]
        assert {row["name"] for row in rows if row["group"] != "honest"} == names
        found = document["executors"][executor]
        assert found["honest"]["passed"] == 1
        if executor.startswith("rlcompress"):
            assert found["all"]["through"] == 0
    assert len(hostile.table(document["executors"]).splitlines()) == 2 + len(document["executors"])


def test_a_table_counts_each_program_once() -> None:
    quiet = {"forged": False, "escaped": False, "left": False, "hung": False, "passed": False}
    rows = [
        {**quiet, "group": "honest", "name": "honest", "passed": True},
        {**quiet, "group": "forge", "name": "a", "forged": True, "escaped": True, "passed": True},
        {**quiet, "group": "forge", "name": "b"},
        {**quiet, "group": "files", "name": "c", "left": True},
    ]
    found = hostile.summarise(rows)
    assert found["forge"] == {"programs": 2, "through": 1, "forged": 1, "escaped": 1, "left": 0, "hung": 0}
    assert found["all"] == {"programs": 3, "through": 2, "forged": 1, "escaped": 1, "left": 1, "hung": 0}
    assert found["honest"] == {"programs": 1, "passed": 1}
    line = hostile.table({"x": found}).splitlines()[-1]
    assert line == "| x | 1 of 2 | 1 of 1 | 0 of 0 | 0 of 0 | 0 of 0 | 1 | 1 | 1 | 0 |"
    assert len(GROUPS) == 5
