"""The committed study holds what the README says: every interval is computed again from the stored items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcompress.measuring.results import load_results

STUDY = Path(__file__).parent / "results" / "masking"
SEEDS = sorted(STUDY.glob("seed-*"))
BEATEN = ("random", "frequent", "rare", "short", "long", "head", "tail", "stride")
BESIDE = ("self_information", "adaptive_add", "prior", "warm_start")


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_the_policy_beats_every_one_pass_heuristic_at_half(folder: Path) -> None:
    rows = {
        row["against"]: row
        for row in load_results(folder / "results.json")["comparisons"]
        if row["metric"] == "distortion_bits" and row["rate"] == 0.5
    }
    for method in BEATEN:
        assert rows[method]["ci_high"] < 0, (method, rows[method])
    assert set(BESIDE) <= rows.keys()


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_every_method_stands_under_its_own_judge_too(folder: Path) -> None:
    rows = load_results(folder / "results.json")["results"]
    adapted = {row["method"] for row in rows if row["metric"] == "distortion_bits_adapted"}
    assert {*BEATEN, *BESIDE, "rl"} <= adapted


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_both_judges_read(folder: Path) -> None:
    for role in ("reward", "heldout"):
        reads = json.loads((folder / f"judge-{role}.json").read_text())
        assert 1 - reads["right"] / reads["other"] == pytest.approx(reads["gain"])
        assert reads["gain"] >= 0.10
