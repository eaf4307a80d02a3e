"""The committed study of co-training: its figures follow from the stored items, whichever way they fall."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcompress.measuring.results import load_results

STUDY = Path(__file__).parent / "results" / "cotraining"
SEEDS = sorted(STUDY.glob("seed-*"))
RATES = (0.5, 0.33)


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_the_two_policies_are_compared_under_both_kinds_of_judge(folder: Path) -> None:
    seed = folder.name.removeprefix("seed-")
    document = load_results(folder / "results.json")
    assert document["settings"]["reference"] == f"cotrained-{seed}"
    found = {(row["metric"], row["rate"]) for row in document["comparisons"] if row["against"] == f"frozen-{seed}"}
    assert {(m, r) for m in ("distortion_bits", "distortion_bits_adapted") for r in RATES} <= found


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_both_had_equal_iterations_and_samples_and_judges_that_read(folder: Path) -> None:
    costs = json.loads((folder / "costs.json").read_text())
    assert len({(cost["iterations"], cost["samples"]) for cost in costs.values()}) == 1
    assert costs["frozen"]["seconds"]["cotrain"] == 0 < costs["cotrained"]["seconds"]["cotrain"]
    for role in ("reward", "heldout"):
        assert json.loads((folder / f"judge-{role}.json").read_text())["gain"] >= 0.10


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_the_live_judge_starts_as_its_twin_and_counts_its_barriers(folder: Path) -> None:
    rows = json.loads((folder / "curves.json").read_text())
    assert [row["cotrain/version"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0]["cotrain/live_bits"] == rows[0]["cotrain/frozen_bits"]
    assert rows[-1]["cotrain/live_bits"] != rows[-1]["cotrain/frozen_bits"]
