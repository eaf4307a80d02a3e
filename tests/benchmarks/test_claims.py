"""The README repeats no claim without the figure that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.claims import markdown
from tests.benchmarks.tables import RESULTS

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_shows_what_was_measured_beside_what_is_claimed() -> None:
    if not (RESULTS / "reader_speed.json").is_file() or not (RESULTS / "context_qa" / "curve").is_dir():
        pytest.skip("not measured yet: make bench-reader_speed study-context_qa")
    assert markdown() in README.read_text(encoding="utf-8")
