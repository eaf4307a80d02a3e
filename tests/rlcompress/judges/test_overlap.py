"""The reader of word overlap: it finds planted answers, needs the text for it, and says so in bits."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.errors import UserError
from rlcompress.judges.overlap import OverlapReader
from rlcompress.text.units import unit_starts
from rlcompress.words import JudgeRequest, Status
from tests.rlcompress.rewards.passages import PASSAGES

READER = OverlapReader()


def request(text: str, kept_N: np.ndarray | None = None, question: str = "", answer: str = "") -> JudgeRequest:
    starts_N = unit_starts(text)
    return JudgeRequest(
        text, starts_N, np.ones(len(starts_N), np.bool_) if kept_N is None else kept_N, question, answer
    )


def test_it_answers_most_of_the_passages():
    said = [READER.read(p.text, p.question or "", p.answer or "").detail["said"] for p in PASSAGES]
    assert sum(answer == p.answer for answer, p in zip(said, PASSAGES, strict=True)) >= 5


def test_an_answer_costs_more_without_its_text():
    for i, passage in enumerate(PASSAGES):
        here = READER.read(passage.text, passage.question or "", passage.answer or "")
        other = READER.read(PASSAGES[i - 1].text, passage.question or "", passage.answer or "")
        empty = READER.read("", passage.question or "", passage.answer or "")
        assert here.score < other.score <= empty.score == 16.0 * here.tokens


def test_distractors_cost_and_context_helps():
    question, answer = "Who built the bridge?", "Holm"
    plain = READER.read("Holm built the bridge.", question, answer).score
    crowded = READER.read("Berg Lund Dahl Holm built the bridge.", question, answer).score
    bare = READER.read("Berg Lund Dahl Holm", question, answer).score
    assert plain < crowded < bare


@given(st.text(max_size=80), st.text(max_size=30), st.text(max_size=15))
def test_any_text_has_a_finite_verdict(text, question, answer):
    verdict = READER.judge([request(text, question=question, answer=answer)])[0]
    assert verdict.status is Status.OK
    assert 0.0 <= verdict.score < np.inf


def test_what_was_dropped_is_not_read():
    text = "Holm built the bridge in 1931."
    kept_N = np.asarray([False, True, True, True, True, True, True])
    kept, written = READER.judge(
        [request(text, kept_N, "Who?", "Holm"), request("built the bridge in 1931.", None, "Who?", "Holm")]
    )
    assert kept.score == written.score


def test_it_is_pickled_and_knows_its_measures():
    copy = pickle.loads(pickle.dumps(READER))
    passage = PASSAGES[0]
    assert copy.read(passage.text, "Who?", "Holm").score == READER.read(passage.text, "Who?", "Holm").score
    with pytest.raises(UserError, match=r"builtin:overlap knows no embedding.*judges\.reader\.model"):
        OverlapReader(("bits", "embedding"))


def test_it_reads_real_questions(real_data):
    """Fewer bits with the right text than with another's: what the gate of a run asks."""
    rows = [json.loads(line) for line in (real_data / "context-qa" / "train.jsonl").read_text().splitlines()[::12]]
    right = [READER.read(row["context"], row["question"], row["answer"]).score for row in rows]
    others = rows[len(rows) // 2 :] + rows[: len(rows) // 2]
    other = [
        READER.read(o["context"], row["question"], row["answer"]).score for o, row in zip(others, rows, strict=True)
    ]
    assert sum(right) < 0.6 * sum(other)
