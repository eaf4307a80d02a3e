"""What the report says of a reward's stability, its alarm, and of several runs together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rlcompress.reporting.report import write_report
from tests.rlcompress.learning.test_alarms import gaming_run, rows


def run_of(folder: Path, logged: list[dict[str, float]]) -> Path:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in logged))
    return folder


def test_an_alarm_stands_in_the_report_and_honest_runs_have_none(tmp_path):
    gamed = gaming_run(np.random.default_rng(0))
    gamed[-1]["alarm/raised"] = 1.0
    page = write_report([run_of(tmp_path / "gamed", gamed)]).read_text()
    assert "Alarm: the reward rises" in page
    assert "Stability of the reward over 100 iterations" in page
    honest = rows(0.1 * np.arange(20), 3 - 0.1 * np.arange(20))
    page = write_report([run_of(tmp_path / "honest", honest)]).read_text()
    assert "Alarm:" not in page
    assert "ρ = +1.00 with the held-out metric" in page
    assert "Over " not in page.partition("<h2>")[0]


def test_several_runs_have_an_interval(tmp_path):
    rng = np.random.default_rng(1)
    runs = [run_of(tmp_path / f"seed-{seed}", gaming_run(rng)) for seed in range(3)]
    page = write_report(runs).read_text()
    assert "Over 3 runs, mean and Student's 95 % interval: trend of the reward +0." in page
    assert "agreement with the held-out metric" in page


def test_a_run_without_rewards_is_reported_without_a_word_on_them(tmp_path):
    page = write_report([run_of(tmp_path / "bare", [{"step": 0, "validation/distortion_bits": 3.0}])]).read_text()
    assert "Stability of the reward" not in page
