"""What is measured to be warned: by whom, of what, and a planted gaming run that says so once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cluster import watching
from cluster.watching import Watch
from rlcompress.config.files import load_config
from rlcompress.learning.alarms import HELDOUT, RETENTION, REWARD
from rlcompress.recording.directory import RunDirectory
from rlcompress.words import Compression
from tests.rlcompress.rewards.arena import Arena
from tests.rlcompress.rewards.passages import PASSAGES

ARENA = Arena(PASSAGES)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The n-gram judge in the held-out judge's place; which folders were asked for."""
    asked: list[Path] = []

    def load(folder: Path):
        asked.append(folder)
        return ARENA.judge

    monkeypatch.setattr(watching, "load_judge", load)
    return asked


def run_with(tmp_path: Path, *settings: str) -> RunDirectory:
    return RunDirectory.create(load_config(None, [f"runs={tmp_path}", "name=watched", *settings]))


def masks(kept: float) -> list[list[Compression]]:
    """At one rate: the first part of each passage."""
    made = [Compression(u, np.arange(len(u)) < kept * len(u), kept) for u in ARENA.units]
    return [made]


def test_bits_are_the_held_out_judges_and_fall_with_what_is_kept(judged, tmp_path):
    run = run_with(tmp_path)
    watch = Watch(run, PASSAGES, None)
    assert judged == [run.heldout_judge]
    less, more = watch.measure(masks(0.3)), watch.measure(masks(0.9))
    assert more[HELDOUT] < less[HELDOUT]
    assert 0.0 <= less[RETENTION] < more[RETENTION] <= 1.0


@pytest.mark.parametrize("settings", [["reward.preset=guarded"], ["reward.terms={distortion: 0.0, answer_kept: 1.0}"]])
def test_a_reward_for_answers_is_watched_by_answers(judged, tmp_path, settings):
    watch = Watch(run_with(tmp_path, *settings), PASSAGES, None)
    assert judged == []
    assert set(watch.measure(masks(0.5))) == {RETENTION}


def gaming(watch: Watch, validations: range) -> list[dict[str, float]]:
    logged = []
    for n in validations:
        watch.record(2 * n - 1, {REWARD: 0.1 * n}, validated=False)
        metrics = {REWARD: 0.1 * n + 0.05, HELDOUT: 3 + 0.1 * max(n - 5, 0) - 0.1 * min(n, 5)}
        logged.append({"step": 2 * n, **metrics, **watch.record(2 * n, metrics, validated=True)})
    return logged


def test_a_planted_gaming_run_says_so_once_and_leaves_it_in_metrics_and_status(judged, tmp_path, capsys):
    run = run_with(tmp_path)
    logged = gaming(Watch(run, PASSAGES, None), range(1, 16))
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("alarm")]
    assert len(printed) == 1
    assert re.search(r"the reward rises .* while heldout/distortion_bits gets worse", printed[0])
    raised = [row["step"] for row in logged if row.get("alarm/raised")]
    assert raised
    assert min(raised) > 10, "not before the held-out figure turned"
    assert run.summary().count("alarm      the reward rises") == 0
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in logged))
    assert run.summary().count("alarm      the reward rises") == 1


def test_a_resumed_run_goes_on_with_what_was_logged(judged, tmp_path):
    run = run_with(tmp_path)
    whole = Watch(run, PASSAGES, None)
    logged = gaming(whole, range(1, 16))
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in logged[:9]))
    # rows between validations are in the file of a real run; here the rewards of validations alone are
    again = Watch(run, PASSAGES, until=18)
    rest = gaming(again, range(10, 16))
    assert [row["alarm/heldout_trend"] for row in rest] == [row["alarm/heldout_trend"] for row in logged[9:]]
    assert [row["alarm/raised"] for row in rest] == [row["alarm/raised"] for row in logged[9:]]
