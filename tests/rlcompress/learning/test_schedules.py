"""Schedules: their ends, their middle, and the direction in which the adaptive one moves."""

from __future__ import annotations

import pytest

from rlcompress.config.schema import ScheduleConfig
from rlcompress.learning.schedules import scheduled


@pytest.mark.parametrize(("kind", "middle"), [("fixed", 2.0), ("linear", 1.25), ("exponential", 1.0)])
def test_paths(kind: str, middle: float) -> None:
    config = ScheduleConfig(kind=kind, start=2.0, end=0.5)
    assert scheduled(config, 0.0) == pytest.approx(2.0)
    assert scheduled(config, 0.5) == pytest.approx(middle)
    end = 2.0 if kind == "fixed" else 0.5
    assert scheduled(config, 1.0) == pytest.approx(end)
    assert scheduled(config, 7.0) == pytest.approx(end)
    assert scheduled(config, -1.0) == pytest.approx(2.0)


def test_adaptive_moves_the_entropy_to_its_target() -> None:
    config = ScheduleConfig(kind="adaptive", start=1.0, end=0.25, target=0.6)
    assert scheduled(config, 0.3) == 1.0
    assert scheduled(config, 0.3, previous=0.5, entropy=0.5) == pytest.approx(0.51)  # too sure: warmer
    assert scheduled(config, 0.3, previous=0.5, entropy=0.7) == pytest.approx(0.5 / 1.02)
    assert scheduled(config, 0.3, previous=1.0, entropy=0.0) == 1.0
    assert scheduled(config, 0.3, previous=0.25, entropy=1.0) == 0.25
