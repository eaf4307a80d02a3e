"""The committed study of Wikipedia articles: the policy wins on every seed, and not by the corpus's marks alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlcompress.measuring.results import load_results

SEEDS = sorted((Path(__file__).parent / "results" / "wikitext").glob("seed-*"))
ONE_PASS = (
    *("random", "frequent", "rare", "short", "long", "head", "tail", "head_tail", "stride", "stopwords"),
    *("self_information", "adaptive", "llmlingua"),
)
seeds = pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
rates = pytest.mark.parametrize("rate", [0.5, 0.33])


def compared(document: dict[str, Any], metric: str, rate: float) -> dict[str, dict[str, float]]:
    rows = document["comparisons"]
    return {row["against"]: row for row in rows if (row["metric"], row["rate"]) == (metric, rate)}


@seeds
@rates
def test_below_every_one_pass_method_under_the_shared_judge(folder: Path, rate: float) -> None:
    rows = compared(load_results(folder), "distortion_bits", rate)
    assert {method: rows[method]["ci_high"] for method in ONE_PASS if rows[method]["ci_high"] >= 0} == {}


@seeds
@rates
def test_no_worse_than_the_best_of_them_under_judges_of_their_own(folder: Path, rate: float) -> None:
    rows = compared(load_results(folder), "distortion_bits_adapted", rate)
    assert {method: rows[method]["ci_low"] for method in ONE_PASS if rows[method]["ci_low"] > 0} == {}


@seeds
@rates
def test_below_them_on_texts_without_marks_too(folder: Path, rate: float) -> None:
    rows = load_results(folder)["slices"]
    unmarked = [
        row
        for row in rows
        if (row["label"], row["metric"], row["rate"]) == ("without <unk>", "distortion_bits", rate)
        and row["method"] in ONE_PASS
    ]
    assert len(unmarked) == len(ONE_PASS)
    assert {row["method"] for row in unmarked if row["comparison"]["ci_high"] >= 0} == set()


@seeds
def test_the_costly_teacher_and_the_supervised_policy_are_there(folder: Path) -> None:
    document = load_results(folder)
    assert {"adaptive_add", "supervised"} <= compared(document, "distortion_bits", 0.5).keys()
    assert document["passes"]["adaptive_add"] >= 5 * document["passes"]["rl"]


@seeds
def test_both_judges_read(folder: Path) -> None:
    for role in ("reward", "heldout"):
        assert json.loads((folder / f"judge-{role}.json").read_text())["gain"] >= 0.10
