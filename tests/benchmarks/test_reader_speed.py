"""The benchmark of the reader's speed at toy size, and the committed one: its figures follow from its measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcompress.measuring.payoff import summarise
from tests.benchmarks.reader_speed import LENGTHS, READERS, measured

RECORDED = Path(__file__).parent / "results" / "reader_speed.json"


def test_it_runs_at_toy_size() -> None:
    (document,) = measured(["random:1x32"], lengths=[40, 20], rates=[0.5], repeats=1, new_tokens=2)
    assert document["compressor"]["name"] == "untrained"
    assert document["data"]["source"] == "builtin:docs"
    assert [row["length"] for row in document["results"]] == [20, 40]
    assert all(row["tokens"] < row["tokens_original"] for row in document["results"])


def test_the_recorded_figures_follow_from_the_measurements() -> None:
    if not RECORDED.is_file():
        pytest.skip("not measured yet: make bench-reader_speed")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert tuple(document["reader"]["name"] for document in recorded["readers"]) == READERS
    for document in recorded["readers"]:
        again = summarise(document["samples"], document["settings"]["price_per_million"])
        for part in ("results", "break_even"):
            assert json.dumps(again[part]) == json.dumps(document[part])
        assert document["reader"]["weights"].startswith("random")
        assert document["settings"]["repeats"] >= 5
        assert document["settings"]["lengths"] == list(LENGTHS)
