"""Every committed study: its figures follow from the stored items, and the README shows them and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcompress.measuring.results import load_results, recompute
from tests.benchmarks.tables import RESULTS, TABLES, markdown

README = Path(__file__).parents[2] / "README.md"
MEASURED = sorted(folder.parent for folder in RESULTS.glob("**/seed-*/results.json"))


@pytest.mark.parametrize("folder", MEASURED, ids=lambda folder: str(folder.relative_to(RESULTS)))
def test_the_figures_follow_from_the_items(folder: Path) -> None:
    stored, again = load_results(folder / "results.json"), recompute(folder)
    for part in ("results", "comparisons", "slices"):
        assert again.get(part) == stored.get(part)


@pytest.mark.parametrize("folder", sorted({folder.parent for folder in MEASURED}), ids=lambda folder: folder.name)
def test_three_seeds_at_least_are_there(folder: Path) -> None:
    seeds = sorted(int(seed.name.removeprefix("seed-")) for seed in folder.glob("seed-*"))
    assert seeds == list(range(len(seeds)))
    assert len(seeds) >= 3


@pytest.mark.parametrize("study", TABLES)
def test_the_readme_shows_these_figures_and_no_others(study: str) -> None:
    if not any((RESULTS / (TABLES[study].folder or study)).glob("seed-*")):
        pytest.skip(f"not measured yet: make study-{study.split('/')[0]}")
    assert markdown(study) in README.read_text(encoding="utf-8")
