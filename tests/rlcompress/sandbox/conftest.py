"""Levels of the sandbox that hold on this machine; a test of one that does not is skipped, and says why."""

from __future__ import annotations

import pytest

from rlcompress.sandbox.levels import try_level


@pytest.fixture(params=["bubblewrap", "landlock"])
def level(request: pytest.FixtureRequest) -> str:
    held = try_level(request.param)
    if not held.holds:
        pytest.skip(f"{held.level}: {held.reason}")
    return held.level
