"""The benchmarks of compressing at toy size, and the committed ones: their figures follow from their measurements."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import compressing, llmlingua
from tests.benchmarks.setting import median_ratio

RESULTS = Path(__file__).parent / "results"


@pytest.mark.parametrize("kind", compressing.ENCODERS)
def test_the_forward_pass_is_within_the_whole(kind: str) -> None:
    figures = compressing.measured(kind, [40, 300], 1)["lengths"]
    for one in (one for length in figures.values() for one in length["rounds"]):
        assert 0 < one["inside_s"] < one["compress_s"]


def test_the_original_and_ours_on_one_checkpoint() -> None:
    found = llmlingua.speed([20], 1, layers=1, width=64)["calls"]
    assert all(one["20"]["speed_up"] > 0 for one in found.values())
    asked = llmlingua.rates([0.5], 2, 60)
    assert asked["default"]["0.5"]["ours"]["mean_absolute_error"] < 0.1


def test_the_recorded_figures_of_compressing_follow_from_the_measurements() -> None:
    recorded = _recorded("compressing")["encoders"]
    assert set(recorded) == set(compressing.ENCODERS)
    for encoder in recorded.values():
        assert list(encoder["lengths"]) == [str(length) for length in compressing.LENGTHS]
        for length, figures in encoder["lengths"].items():
            assert figures == compressing.summed_up(figures["rounds"], int(length))


def test_the_recorded_figures_of_llmlingua_follow_from_the_measurements() -> None:
    for figures in (f for call in _recorded("llmlingua")["speed"]["calls"].values() for f in call.values()):
        assert figures["speed_up"] == median_ratio(figures["seconds_baseline"], figures["seconds"])
        assert figures["tokens_per_second"] * statistics.median(figures["seconds"]) == pytest.approx(
            figures["tokens_per_second_baseline"] * statistics.median(figures["seconds_baseline"])
        )


def _recorded(name: str) -> dict[str, Any]:
    if not (RESULTS / f"{name}.json").is_file():
        pytest.skip(f"not measured yet: make bench-{name}")
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return document
