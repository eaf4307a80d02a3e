"""The committed study of questions holds what the README says: every interval is computed again from the items."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcompress.measuring.results import load_results, pooled, pooled_splits
from tests.benchmarks.tables import without_seed

STUDY = Path(__file__).parent / "results" / "context_qa"
SEEDS = sorted(STUDY.glob("seed-*"))
CONTROLS = sorted(STUDY.glob("*/seed-*"))
SENTENCES = ("bm25_sentences", "embedding_sentences", "mix_sentences")
if not SEEDS:
    pytest.skip("not measured yet: make study-context_qa", allow_module_level=True)
README = Path(__file__).parents[2] / "README.md"


def compared(document: dict[str, list[dict[str, float]]], against: str) -> dict[float, dict[str, float]]:
    """Comparison rows of answers that survive, by rate."""
    rows = [row for row in document["comparisons"] if row["metric"] == "answer_retention"]
    return {row["rate"]: row for row in rows if without_seed(str(row["against"])) == against}


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_forty_contexts_at_least_are_held_out(folder: Path) -> None:
    rows = compared(load_results(folder / "results.json"), "mix_sentences").values()
    assert all(row["groups"] >= 40 for row in rows)


@pytest.mark.parametrize("against", SENTENCES)
def test_the_policy_keeps_more_answers_than_sentence_selection(against: str) -> None:
    """Over the seeds, with an interval that excludes 0 at two rates or more."""
    rows = compared(pooled_splits(SEEDS, without_seed), against)
    assert set(rows) == {0.5, 0.33, 0.2}
    assert all(row["difference"] > 0 for row in rows.values())
    assert sum(row["ci_low"] > 0 for row in rows.values()) >= 2


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_no_seed_falls_below_the_mix_at_half(folder: Path) -> None:
    assert compared(load_results(folder / "results.json"), "mix_sentences")[0.5]["difference"] > 0


def test_hearing_the_question_is_worth_something_at_every_rate() -> None:
    rows = compared(pooled_splits(sorted((STUDY / "controls").glob("seed-*")), without_seed), "query_free")
    assert all(row["ci_low"] > 0 for row in rows.values())


@pytest.mark.parametrize("source", ["duorc", "quoref"])
def test_it_keeps_more_than_the_mix_on_sources_that_no_training_saw(source: str) -> None:
    rows = compared(pooled(sorted((STUDY / f"without_{source}").glob("seed-*")), without_seed), "mix_sentences")
    assert all(row["difference"] > 0 for row in rows.values())
    assert rows[0.2]["ci_low"] > 0


def test_the_readme_says_where_it_does_not() -> None:
    folders = [STUDY / "without_adversarial_qa", *sorted((STUDY / "attempts").iterdir())]
    found = [compared(pooled(sorted(folder.glob("seed-*")), without_seed), "mix_sentences") for folder in folders]
    assert len(found) == 3
    assert all(rows[rate]["ci_high"] < 0 for rows in found for rate in (0.33, 0.2))
    assert "**It does not carry over to AdversarialQA**" in README.read_text(encoding="utf-8")
