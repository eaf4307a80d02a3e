"""BM25 against a plain twin, and what people expect of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.questions.bm25 import asked_words, bm25
from rlcompress.text.bare import bare_words
from rlcompress.words import FloatArray

words = st.lists(st.sampled_from("abcde"), max_size=8)
collections = st.lists(words, max_size=6)


def bm25_scores(texts: Sequence[str], question: str) -> FloatArray:
    """Of texts against all words of a question."""
    return bm25([bare_words(text) for text in texts], bare_words(question))


def slow_bm25(documents: list[list[str]], query: list[str], k1: float, b: float) -> list[float]:
    total = sum(len(document) for document in documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            n = len([other for other in documents if word in other])
            tf = document.count(word)
            if tf:
                idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
                norm = 1 - b + b * len(document) / (total / len(documents))
                score += idf * tf * (k1 + 1) / (tf + k1 * norm)
        scores.append(score)
    return scores


@given(collections, words, st.floats(0, 3), st.floats(0, 1))
def test_scores_equal_the_slow_twin(documents: list[list[str]], query: list[str], k1: float, b: float) -> None:
    assert bm25(documents, query, k1, b).tolist() == pytest.approx(slow_bm25(documents, query, k1, b))


@given(collections, words)
def test_never_negative_and_zero_without_a_common_word(documents: list[list[str]], query: list[str]) -> None:
    for document, score in zip(documents, bm25(documents, query), strict=True):
        assert (score > 0) == bool(set(document) & set(query))


def test_a_worked_example() -> None:
    # 3 documents of mean length 2; "x" stands in one of them, twice among its 3 words
    scores = bm25([["x", "x", "y"], ["y"], ["z", "y"]], ["x"])
    idf, held_back = math.log(1 + 2.5 / 1.5), 1.2 * (0.25 + 0.75 * 1.5)
    assert scores.tolist() == pytest.approx([idf * 2 * 2.2 / (2 + held_back), 0, 0])


def test_the_sentence_with_the_rare_word_of_the_question_wins() -> None:
    sentences = [
        "The ship left the port in the morning. ",
        "The crew of the ship was paid by Mr Quist. ",
        "The ship came back to the port in the evening, said the crew of the ship.",
    ]
    assert bm25_scores(sentences, "Was it QUIST who paid the crew of the ship?").argmax() == 1


def test_stop_words_of_a_question_are_looked_for_only_when_there_is_nothing_else() -> None:
    assert asked_words("What did the Ship do?") == ["ship"]
    assert asked_words("Who did what?") == ["who", "did", "what"]
    assert asked_words("?!") == []


def test_repetition_saturates_and_length_holds_back() -> None:
    once, twice, often = (bm25([["x"] * n + ["y"] * (20 - n), ["z"] * 20], ["x"])[0] for n in (1, 2, 20))
    assert 0 < twice - once < once
    assert often < 2.2 * math.log(1 + 1.5 / 1.5)
    long, short = bm25([["x"] + ["y"] * 9, ["x", "y"], ["z"]], ["x"])[:2]
    assert short > long


def test_a_word_asked_twice_counts_twice() -> None:
    documents = [["x"], ["y"]]
    assert bm25(documents, ["x", "x"])[0] == pytest.approx(2 * bm25(documents, ["x"])[0])


@pytest.mark.parametrize(("texts", "question"), [([], "who"), ([""], "who"), (["a b", "..."], ""), (["a"], "?!")])
def test_nothing_to_match_is_zero(texts: list[str], question: str) -> None:
    scores = bm25_scores(texts, question)
    assert scores.shape == (len(texts),)
    assert not scores.any()


def test_scripts_without_spaces_match_by_character() -> None:
    assert bm25_scores(["猫が庭にいる。", "犬は家で眠る。"], "犬はどこ").argmax() == 1
    assert np.isfinite(bm25_scores(["👍🏽", "한국어 문장"], "한국어")).all()
